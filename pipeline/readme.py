"""Update the results in README.md and docs/: the tables between markers, and the picture of scenes.

python -m pipeline.readme
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from palimpsest.errors import PalimpsestError
from palimpsest.layout import Layout
from palimpsest.output import survive_any_output
from palimpsest.params import read, resolve
from palimpsest.report.bench import bench_table
from palimpsest.report.grid import write_grid
from palimpsest.report.readme import has_table, methods_table, tasks_table, write_tables
from palimpsest.report.sweep import load_sweep, sweep_table
from palimpsest.settings import FLOOR
from palimpsest.sweeps import sweep_tables

GRID_TASKS = ("coco-seg", "colorize", "style-gogh", "style-munch")
"""Tasks whose predictions the picture of scenes shows."""


def main() -> None:
    """Replace the tables between markers in README.md and docs/; replace the picture if results of `mini` exist."""
    text_of = dict(tables(Path("results"), Path("docs/results"), read(Path("params.yaml"))))
    for document in (Path("README.md"), *sorted(Path("docs").glob("*.md"))):
        write_tables(document, {name: text for name, text in text_of.items() if has_table(document, name)})
    evaluation = Layout("mini").evaluation(0, "piggyback").parent
    if evaluation.exists():
        write_grid(Path("docs/translations.png"), evaluation, "piggyback", GRID_TASKS, rows=3, side=160)


def tables(results: Path, longer: Path, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each table for which results exist.

    ``results`` is the folder of this machine's runs. ``longer`` is the folder of summaries of long runs that the
    repository contains. The tables, by name:

    `<preset>`: the methods of the preset in ``params``, to fit the page; from ``results`` if it has a summary of
    the preset, otherwise from ``longer``.
    `<preset>-methods`: all methods of a preset in ``longer``.
    `<preset>-sweep-<method>` and `bench`: from ``results``.
    """
    paths = (*longer.glob("*/summary.json"), *results.glob("*/summary.json"))
    by_preset = {path.parent.name: path for path in paths}
    for name, path in sorted(by_preset.items()):
        summary, methods = json.loads(path.read_text("utf-8")), {FLOOR, *methods_of(params, name)}
        yield name, tasks_table({method: entry for method, entry in summary.items() if method in methods})
    for path in sorted(longer.glob("*/summary.json")):
        forgetting = pd.read_csv(path.with_name("forgetting.csv"))
        yield f"{path.parent.name}-methods", methods_table(json.loads(path.read_text("utf-8")), forgetting)
    for folder in sorted(results.glob("*/sweep")):
        for swept in sweep_tables(folder.parent):
            yield f"{folder.parent.name}-sweep-{swept.stem}", sweep_table(load_sweep(swept))
    if (results / "bench.json").exists():
        yield "bench", bench_table(json.loads((results / "bench.json").read_text("utf-8")))


def methods_of(params: Mapping[str, Any], preset: str) -> Sequence[str]:
    """Return the methods of a preset in ``params``, the content of `params.yaml`.

    For an unknown preset, return those of `defaults`.
    """
    overrides = {"preset": preset} if preset in params["presets"] else {"methods": params["defaults"]["methods"]}
    return resolve(params, {**overrides, "data_root": None}).methods


if __name__ == "__main__":
    survive_any_output()
    try:
        main()
    except PalimpsestError as error:
        sys.exit(f"error: {error}")
