"""Train one method on one task and store what the task needs.

    python -m pipeline.train --seed 0 --method piggyback --task voc-seg

The method `base` makes the network that all methods share. An interrupted training goes on from its last epoch.
"""

import argparse
from collections.abc import Mapping, Sequence

from palimpsest import job, tracking
from palimpsest.code_digest import stage_digest
from palimpsest.data.arrays import Prepared
from palimpsest.devices import precision_for
from palimpsest.errors import SettingsError
from palimpsest.layout import Layout
from palimpsest.methods import BASE, entry_of
from palimpsest.provenance import code_version, digest
from palimpsest.settings import Lesson, Settings
from palimpsest.storage.prediction_record import load_record
from palimpsest.storage.recall import StoredTasks
from palimpsest.storage.task_file import load_task
from palimpsest.training.cost import CostMeter, load_cost, save_cost
from palimpsest.training.lesson import checkpoint_of, learn
from palimpsest.training.loop import start_fabric


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Run one lesson inside one MLflow run, and keep a record of the time and memory that it takes."""
    if options.method == BASE and layout.variant and not layout.own_base:
        raise SettingsError(f"the variant {layout.variant} stands on the base network of the study")
    code_version()  # kept from now on: the code may change while this trains
    names = settings.sequence if entry_of(options.method).together else [options.task]
    lessons = [on_this_machine(settings.lesson(options.seed, options.method, name)) for name in names]
    before = settings.sequence[: settings.sequence.index(options.task)]
    stored = StoredTasks.of(settings, options.seed, options.method)
    prepared = {name: Prepared.open(layout.prepared(name)) for name in names}
    key = training_key(lessons, prepared, stored)
    tags = tracking.training_tags(layout.scope, options.seed, options.method, options.task)
    target = layout.stored(options.seed, options.method, names[0])
    record = layout.cost(options.seed, options.method, names[0])
    meter = CostMeter(key, load_cost(record) if checkpoint_of(target).exists() else None)
    fabric = start_fabric(lessons[0].training, in_parts=len(lessons) > 1)
    with tracking.training_run(tags, key, lessons[0].model_dump(mode="json"), fabric.is_global_zero) as run:

        def after_epoch(history: Sequence[dict[str, float]]) -> None:
            run.epochs(history)
            if fabric.is_global_zero:
                save_cost(record, meter.cost())

        earlier = {name: settings.tasks[name] for name in before}
        path, *_ = learn(fabric, lessons, stored, earlier, prepared, key, after_epoch)
        file, arrays = load_task(path), prepared[options.task]
        cost = meter.cost(file.sha256)
        if fabric.is_global_zero:
            save_cost(record, cost)
        records = {
            name: load_record(layout.prediction_record(options.seed, options.method, name)) for name in names
        }
        learned = {f"{name}/{metric}": value for name in names for metric, value in records[name].metrics.items()}
        run.metrics({**arrays.counts(), **file.provenance.diagnostics, **learned, **cost.figures()})
        checksums = {f"predictions/{name}": record.checksum for name, record in records.items()}
        run.tags({"file": str(path), "sha256": file.sha256, "data_sha256": arrays.sha256, **checksums})
    if fabric.is_global_zero:  # and not before: Snakemake deletes what a failed job has stored
        checkpoint_of(path).unlink(missing_ok=True)


def on_this_machine(lesson: Lesson) -> Lesson:
    """A lesson as it is given here: what identifies the training, MLflow and the stored task name its precision."""
    training = lesson.training.model_copy(update={"precision": precision_for(lesson.training)})
    return lesson.model_copy(update={"training": training})


def training_key(lessons: Sequence[Lesson], prepared: Mapping[str, Prepared], stored: StoredTasks) -> str:
    """Return the identity of a training: a digest of its settings, code, data and files."""
    told = "".join(lesson.digest() + prepared[lesson.task_name].sha256 for lesson in lessons)
    files = [path for lesson in lessons for path in lesson.files()]
    inputs = [*dict.fromkeys(files), *stored.course.needed(lessons[0].task_name)]
    code = stage_digest("train", [lessons[0].method], sorted({lesson.task.kind for lesson in lessons}))
    return digest(told + code, inputs)


if __name__ == "__main__":
    job.run(main, __doc__, "seed", "method", "task")
