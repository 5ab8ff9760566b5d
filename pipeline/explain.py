"""Run one experiment of `palimpsest.explaining` on one task.

python -m pipeline.explain --seed 0 --experiment flipped --task voc-seg
"""

import argparse
from collections.abc import Callable

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.conditions import library_versions
from palimpsest.analysis.transfer import by_key, quality, scored_tasks
from palimpsest.devices import measuring_conditions
from palimpsest.explaining.experiments import FUNCTIONS
from palimpsest.explaining.workbench import Figures, Workbench
from palimpsest.layout import Layout
from palimpsest.provenance import code_version, origin
from palimpsest.report.explained import COLUMNS
from palimpsest.report.sweep import QUALITY
from palimpsest.settings import FLOOR, REFERENCE, Settings
from palimpsest.storage.atomic import write_text

Metrics = dict[str, float]
"""Metrics of one measurement, by name."""


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the metrics under every condition, with `quality` relative to `scratch`, and their origin beside."""
    code_version()  # cached now, because the code may change during the experiment
    bench = Workbench(settings, options.seed, options.task)
    with_quality = quality_of(settings, layout, options.seed, options.task)
    rows = []
    for row in FUNCTIONS[options.experiment](bench):
        metrics = row.metrics if isinstance(row, Figures) else with_quality(bench.measure(row.state))
        rows += [
            (options.experiment, options.seed, options.task, row.condition, row.x, name, value)
            for name, value in metrics.items()
            if "/" not in name
        ]
    path = layout.experiment(options.seed, options.experiment, options.task)
    write_text(path, pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False))
    conditions = measuring_conditions(bench.fabric.device)
    content = origin(
        bench.job,
        {options.task: bench.prepared.sha256},
        conditions=conditions,
        trained_in={options.task: bench.job.training.precision},
        trained_on={options.task: conditions},
        libraries=library_versions(),
    )
    write_text(path.with_suffix(".json"), content)


def quality_of(settings: Settings, layout: Layout, seed: int, task: str) -> Callable[[Metrics], Metrics]:
    """Return a function that adds ``quality``, relative to `scratch`, to the metrics of a task.

    It adds nothing for a task without a metric that has a direction.
    """
    tables = {
        method: pd.read_csv(layout.evaluation(seed, method) / "metrics.csv", dtype={"checksum": str})
        for method in (FLOOR, REFERENCE)
    }
    scored = scored_tasks(tables[REFERENCE], [(task, settings.tasks[task].kind)])
    if not scored:
        return dict
    (entry,) = scored
    key = task, task, entry.column
    floor, reference = (by_key(table, ["task", "after", "metric"], "value")[key] for table in tables.values())
    return lambda metrics: {**metrics, QUALITY: quality(entry.metric, metrics[entry.column], floor, reference)}


if __name__ == "__main__":
    stage.run(main, __doc__, "seed", "experiment", "task")
