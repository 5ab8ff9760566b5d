"""Collect the measurements of every seed and method into the preset's tables and summary.

python -m pipeline.collect
"""

import argparse
import json
from functools import partial

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.conditions import collect_conditions
from palimpsest.analysis.tables import COLUMNS, columns_of
from palimpsest.analysis.transfer import comparison_table, forgetting_table, quality_table
from palimpsest.jobs import training_steps
from palimpsest.layout import Layout
from palimpsest.report.summary import summarise, write_summary
from palimpsest.settings import FLOOR, REFERENCE, Settings
from palimpsest.storage.atomic import write_text
from palimpsest.variants import shared_base


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the preset's tables (`COLUMNS`), those derived from them, `summary.json` and `conditions.json`."""
    tables = {name: gather(settings, layout, name) for name in COLUMNS}
    sequence = [(name, settings.tasks[name].kind) for name in settings.sequence]
    quality = quality_table(tables["metrics"], sequence)
    derived = {
        "quality": quality,
        "forgetting": forgetting_table(quality, tables["growth"], tables["costs"], sequence, settings.methods),
        "comparisons": comparison_table(quality, settings.methods),
    }
    for name, table in {**tables, **derived}.items():
        folder = layout.results / "analysis" if name in ANALYSIS_TABLES else layout.results
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    summary = summarise(
        tables["metrics"], tables["sizes"], sequence, [FLOOR, *settings.methods], tables["verification"]
    )
    write_summary(layout.results / "summary.json", summary)
    methods = [(seed, method) for seed in settings.seeds for method in (FLOOR, *settings.methods)]
    conditions = collect_conditions(
        [layout.origin(seed, method) for seed, method in methods],
        {task: layout.prepared(task) / "info.json" for task in settings.sequence},
        steps_of(settings),
    )
    write_text(layout.results / "conditions.json", json.dumps(conditions, indent=1, ensure_ascii=False) + "\n")


def steps_of(settings: Settings) -> dict[str, int]:
    """Return the steps of each training of a base network and of each later task, by name.

    Trainings of methods with other steps are named `<task> with <method>`.
    """
    steps = partial(training_steps, settings, settings.seeds[0])
    by_base = {base: steps(base, settings.base_task) for base in dict.fromkeys(map(shared_base, settings.methods))}
    by_task = {task: steps(REFERENCE, task) for task in settings.sequence[1:]}
    longer = {
        f"{task} with {method}": steps(method, task)
        for method in settings.methods
        for task in settings.sequence[1:]
        if steps(method, task) != by_task[task]
    }
    return by_base | by_task | longer


ANALYSIS_TABLES = ("growth", "costs", "losses", "zeros", "similarity")
"""Names of the tables in the folder `analysis/`; the others are in the preset's folder of results."""


def gather(settings: Settings, layout: Layout, name: str) -> pd.DataFrame:
    """Return the table ``name`` of all seeds and methods together, with seed and method as first columns.

    Missing and empty tables are skipped; without any, the table has columns and no rows.
    """
    frames = []
    for seed in settings.seeds:
        for method in (FLOOR, *settings.methods):
            path = layout.evaluation(seed, method) / f"{name}.csv"
            if path.exists() and path.stat().st_size > 1:
                frame = pd.read_csv(path, dtype={"checksum": str})
                frame.insert(0, "method", method)
                frame.insert(0, "seed", seed)
                frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns_of(name))


if __name__ == "__main__":
    stage.run(main, __doc__)
