"""Run one experiment of `palimpsest.explaining` on one task.

python -m pipeline.explain --seed 0 --experiment flipped --task voc-seg
"""

import argparse
from collections.abc import Callable
from pkgutil import resolve_name

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.conditions import library_versions
from palimpsest.analysis.transfer import by_key, quality, scored_tasks, tasks_with_scale
from palimpsest.devices import measuring_conditions
from palimpsest.explaining import COLUMNS, EXPERIMENTS, MASKED, QUALITY
from palimpsest.explaining.workbench import Figures, Workbench
from palimpsest.layout import Layout
from palimpsest.provenance import code_version, origin
from palimpsest.settings import FLOOR, REFERENCE, Settings
from palimpsest.storage.atomic import write_text
from palimpsest.storage.stored_tasks import StoredTasks

Metrics = dict[str, float]
"""Metrics of one measurement, by name."""


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the metrics under every condition, with `quality` relative to `scratch`, and their origin beside."""
    code_version()  # cached now, because the code may change during the experiment
    bench = Workbench(settings, options.seed, options.task)
    with_quality = quality_of(settings, layout, options.seed, options.task)
    rows = []
    experiment = EXPERIMENTS[options.experiment]
    for row in resolve_name(experiment.path)(bench):
        metrics = row.metrics if isinstance(row, Figures) else with_quality(bench.measure(row.state))
        rows += [
            (options.experiment, options.seed, options.task, row.condition, row.x, name, value)
            for name, value in metrics.items()
            if "/" not in name
        ]
    path = layout.experiment(options.seed, options.experiment, options.task)
    write_text(path, pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False))
    conditions = measuring_conditions(bench.fabric.device)
    record = StoredTasks.of(settings, options.seed, MASKED).prediction_record(options.task)
    trained_in, trained_on = {MASKED: record.trained_in}, {MASKED: record.conditions}
    if experiment.trainings:
        trained_in[options.experiment] = bench.job.training.precision
        trained_on[options.experiment] = conditions
    content = origin(
        bench.job,
        {options.task: bench.prepared.sha256},
        conditions=conditions,
        trained_in=trained_in,
        trained_on=trained_on,
        libraries=library_versions(),
    )
    write_text(path.with_suffix(".json"), content)


def quality_of(settings: Settings, layout: Layout, seed: int, task: str) -> Callable[[Metrics], Metrics]:
    """Return a function that adds ``quality``, relative to `scratch`, to the metrics of a task.

    It adds nothing for a task without a metric that has a direction, or without a scale: one in which `scratch` is
    not better than the trivial baseline.
    """
    tables = {
        method: pd.read_csv(layout.evaluation(seed, method) / "metrics.csv", dtype={"checksum": str})
        for method in (FLOOR, REFERENCE)
    }
    scored = scored_tasks(tables[REFERENCE], [(task, settings.tasks[task].kind)])
    if not scored:
        return dict
    (entry,) = scored
    measured = pd.concat([table.assign(method=method, seed=seed) for method, table in tables.items()])
    values = by_key(measured, ["seed", "method", "task", "after", "metric"], "value")
    if task not in tasks_with_scale(values, scored, [seed]):
        return dict
    floor, reference = (values[seed, method, task, task, entry.column] for method in tables)
    return lambda metrics: {**metrics, QUALITY: quality(entry.metric, metrics[entry.column], floor, reference)}


if __name__ == "__main__":
    stage.run(main, __doc__, "seed", "experiment", "task")
