"""Write what README.md and docs/ show of results: tables between their markers, and the picture of scenes.

python -m pipeline.readme
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from palimpsest.errors import PalimpsestError
from palimpsest.layout import Layout
from palimpsest.params import read
from palimpsest.report.bench import bench_table
from palimpsest.report.grid import write_grid
from palimpsest.report.readme import has_table, table, write_tables
from palimpsest.report.sweep import load_sweep, sweep_table
from palimpsest.settings import FLOOR
from palimpsest.sweeps import measured_below

SHOWN = ("coco-seg", "colorize", "style-gogh", "style-munch")


def main() -> None:
    """Replace what stands between the markers, and the picture where `mini` has been run."""
    found = dict(tables(Path("results"), read(Path("params.yaml"))))
    for document in (Path("README.md"), *sorted(Path("docs").glob("*.md"))):
        write_tables(document, {name: text for name, text in found.items() if has_table(document, name)})
    evaluation = Layout("mini").evaluation(0, "piggyback").parent
    if evaluation.exists():
        write_grid(Path("docs/translations.png"), evaluation, "piggyback", SHOWN, rows=3, side=160)


def tables(results: Path, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every table that results can fill, by the name of its markers: `mini`, `mini-sweep-ewc`, `bench`.

    A preset's table has the methods that `params.yaml` names for it, be others measured too: a page has no room
    for all, which stand in the preset's report.
    """
    for path in sorted(results.glob("*/summary.json")):
        summary, shown = json.loads(path.read_text("utf-8")), {FLOOR, *methods_of(params, path.parent.name)}
        yield path.parent.name, table({name: entry for name, entry in summary.items() if name in shown})
        for swept in measured_below(path.parent):
            yield f"{path.parent.name}-sweep-{swept.stem}", sweep_table(load_sweep(swept))
    if (results / "bench.json").exists():
        yield "bench", bench_table(json.loads((results / "bench.json").read_text("utf-8")))


def methods_of(params: Mapping[str, Any], preset: str) -> Sequence[str]:
    """The methods that `params.yaml` names for a preset."""
    named = params["presets"].get(preset, {}).get("methods", params["defaults"]["methods"])
    return [str(name) for name in named]


if __name__ == "__main__":
    try:
        main()
    except PalimpsestError as error:
        sys.exit(f"error: {error}")
