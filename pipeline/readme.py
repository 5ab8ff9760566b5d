"""Write what README.md and docs/ show of results: tables between their markers, and the picture of scenes.

python -m pipeline.readme
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from palimpsest.errors import PalimpsestError
from palimpsest.layout import Layout
from palimpsest.report.bench import bench_table
from palimpsest.report.grid import write_grid
from palimpsest.report.readme import has_table, table, write_tables
from palimpsest.report.sweep import sweep_table

SHOWN = ("coco-seg", "colorize", "style-gogh", "style-munch")


def main() -> None:
    """Replace what stands between the markers, and the picture where `mini` has been run."""
    found = dict(tables(Path("results")))
    for document in (Path("README.md"), *sorted(Path("docs").glob("*.md"))):
        write_tables(document, {name: text for name, text in found.items() if has_table(document, name)})
    evaluation = Layout("mini").evaluation(0, "piggyback").parent
    if evaluation.exists():
        write_grid(Path("docs/translations.png"), evaluation, "piggyback", SHOWN, rows=3, side=160)


def tables(results: Path) -> Iterator[tuple[str, str]]:
    """Every table that results can fill, by the name of its markers: `mini`, `mini-sweep`, `bench`."""
    for path in sorted(results.glob("*/summary.json")):
        yield path.parent.name, table(json.loads(path.read_text("utf-8")))
    for path in sorted(results.glob("*/sweep.csv")):
        yield f"{path.parent.name}-sweep", sweep_table(pd.read_csv(path))
    if (results / "bench.json").exists():
        yield "bench", bench_table(json.loads((results / "bench.json").read_text("utf-8")))


if __name__ == "__main__":
    try:
        main()
    except PalimpsestError as error:
        sys.exit(f"error: {error}")
