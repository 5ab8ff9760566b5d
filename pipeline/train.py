"""Train one method on one task and store what the task needs.

    python -m pipeline.train --seed 0 --method piggyback --task voc-seg

The method `base` trains the network that all methods share. An interrupted training resumes from its last epoch.
"""

import argparse
from collections.abc import Mapping, Sequence

from palimpsest import stage
from palimpsest.code_digest import stage_digest
from palimpsest.data.arrays import Prepared
from palimpsest.devices import with_precision
from palimpsest.errors import SettingsError
from palimpsest.jobs import TrainingJob, training_job
from palimpsest.layout import Layout
from palimpsest.methods import BASE
from palimpsest.provenance import code_version, digest
from palimpsest.settings import Settings
from palimpsest.storage.prediction_record import load_record
from palimpsest.storage.stored_task import open_task
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tracking import runs
from palimpsest.training.cost import CostMeter, load_cost, save_cost
from palimpsest.training.loop import start_fabric
from palimpsest.training.task_training import checkpoint_of, learn


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Run one training as an MLflow run, store its tasks, and record its time and memory.

    Raises:
        SettingsError: the job would train the base network in a variant that shares the preset's.
    """
    if options.method == BASE and layout.variant and layout.shares != "none":
        raise SettingsError(
            f"--variant {layout.variant}: the variant uses the preset's base network; train it without --variant"
        )
    code_version()  # cached now, because the code may change during the training
    job = training_job(settings, options.seed, options.method, options.task)
    job = job.model_copy(update={"training": with_precision(job.training)})  # as MLflow and the header record it
    stored = StoredTasks.of(settings, options.seed, options.method)
    prepared = {name: Prepared.open(layout.prepared(name)) for name in job.task_names}
    key = training_key(job, prepared, stored)
    first = job.task_names[0]
    tags = runs.training_tags(layout.scope, options.seed, options.method, options.task)
    target = layout.stored(options.seed, options.method, first)
    record = layout.cost(options.seed, options.method, first)
    meter = CostMeter(key, load_cost(record) if checkpoint_of(target).exists() else None)
    fabric = start_fabric(job.training, unused_parameters=len(job.tasks) > 1)
    with runs.training_run(tags, key, job.parameters(), fabric.is_global_zero) as run:

        def after_epoch(history: Sequence[dict[str, float]]) -> None:
            run.epochs(history)
            if fabric.is_global_zero:
                save_cost(record, meter.cost())

        path, *_ = learn(fabric, job, stored, prepared, key, after_epoch, run.picture)
        file, arrays = open_task(path), prepared[options.task]
        cost = meter.cost(file.sha256)
        if fabric.is_global_zero:
            save_cost(record, cost)
        records = {
            name: load_record(layout.prediction_record(options.seed, options.method, name))
            for name in job.task_names
        }
        learned = {
            f"final/{name}/{metric}": value
            for name in job.task_names
            for metric, value in records[name].metrics.items()
        }
        run.metrics({**arrays.counts(), **file.provenance.diagnostics, **learned, **cost.figures()})
        checksums = {f"predictions/{name}": record.checksum for name, record in records.items()}
        run.tags({"file": str(path), "sha256": file.sha256, "data_sha256": arrays.sha256, **checksums})
    if fabric.is_global_zero:  # only now: Snakemake deletes the stored task of a failed job
        checkpoint_of(path).unlink(missing_ok=True)


def training_key(job: TrainingJob, prepared: Mapping[str, Prepared], stored: StoredTasks) -> str:
    """Return the digest of a training's settings, its code and every file that it reads."""
    settings = job.digest() + "".join(prepared[name].sha256 for name in job.task_names)
    inputs = [*job.files(), *stored.task_files.starting_files(job.task_names[0])]
    kinds = sorted({task.settings.kind for task in job.tasks})
    code = stage_digest("train", [job.method], kinds, [job.network.name])
    return digest(settings + code, inputs)


if __name__ == "__main__":
    stage.run(main, __doc__, "seed", "method", "task")
