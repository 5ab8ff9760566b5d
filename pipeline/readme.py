"""Write what README.md shows of the results: the table of every preset that has some, and the picture of scenes.

python -m pipeline.readme
"""

import json
import sys
from pathlib import Path

from palimpsest.errors import PalimpsestError
from palimpsest.layout import Layout
from palimpsest.report.grid import write_grid
from palimpsest.report.readme import has_table, write_tables

SHOWN = ("coco-seg", "colorize", "style-gogh", "style-munch")


def main() -> None:
    """Replace what stands between the markers, and the picture where `mini` has been run."""
    summaries = {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for path in sorted(Path("results").glob("*/summary.json"))
    }
    readme = Path("README.md")
    write_tables(readme, {preset: found for preset, found in summaries.items() if has_table(readme, preset)})
    evaluation = Layout("mini").evaluation(0, "piggyback").parent
    if evaluation.exists():
        write_grid(Path("docs/translations.png"), evaluation, "piggyback", SHOWN, rows=3, side=160)


if __name__ == "__main__":
    try:
        main()
    except PalimpsestError as error:
        sys.exit(f"error: {error}")
