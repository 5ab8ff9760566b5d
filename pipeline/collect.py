"""Collect the measurements of every seed and method into the preset's tables and summary.

python -m pipeline.collect
"""

import argparse

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.tables import COLUMNS, columns_of
from palimpsest.analysis.transfer import forgetting_table
from palimpsest.layout import Layout
from palimpsest.report.summary import summarise, write_summary
from palimpsest.settings import FLOOR, Settings
from palimpsest.storage.atomic import write_text


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the preset's tables (`COLUMNS`), `forgetting.csv` and `summary.json`."""
    tables = {name: gather(settings, layout, name) for name in COLUMNS}
    sequence = [(name, settings.tasks[name].kind) for name in settings.sequence]
    forgetting = forgetting_table(tables["metrics"], tables["growth"], tables["costs"], sequence, settings.methods)
    for name, table in {**tables, "forgetting": forgetting}.items():
        folder = layout.results / "analysis" if name in ANALYSIS_TABLES else layout.results
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    summary = summarise(
        tables["metrics"], tables["sizes"], sequence, [FLOOR, *settings.methods], tables["verification"]
    )
    write_summary(layout.results / "summary.json", summary)


ANALYSIS_TABLES = ("growth", "costs", "zeros", "similarity")
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
