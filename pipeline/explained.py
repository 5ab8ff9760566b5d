"""Collect the results of all experiments of `palimpsest.explaining`, and write their page.

python -m pipeline.explained
"""

import argparse
import json

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.conditions import collect_conditions
from palimpsest.explaining import experiments_of
from palimpsest.layout import Layout
from palimpsest.report.explained import write_page
from palimpsest.settings import Settings
from palimpsest.storage.atomic import write_text
from pipeline.collect import steps_of


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the table of all results, their conditions, and the page with its figures."""
    tables = [
        layout.experiment(seed, name, task)
        for seed in settings.seeds
        for name, task in experiments_of(settings.sequence)
    ]
    # An experiment without results on a task has no rows, and then its columns would have no types.
    results = pd.concat([table for table in map(pd.read_csv, tables) if len(table)], ignore_index=True)
    conditions = collect_conditions(
        [table.with_suffix(".json") for table in tables],
        {task: layout.prepared(task) / "info.json" for task in settings.sequence},
        steps_of(settings),
    )
    write_text(layout.explained / "metrics.csv", results.to_csv(index=False))
    write_text(layout.explained / "conditions.json", json.dumps(conditions, indent=1, ensure_ascii=False) + "\n")
    write_page(results, conditions, layout.explained)


if __name__ == "__main__":
    stage.run(main, __doc__)
