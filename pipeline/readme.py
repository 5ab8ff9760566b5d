"""Write the measured tables of README.md from the results of every preset that has some.

python -m pipeline.readme
"""

import json
from pathlib import Path

from palimpsest.report.readme import write_tables


def main() -> None:
    """Replace what stands between the markers."""
    summaries = {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for path in sorted(Path("results").glob("*/summary.json"))
    }
    write_tables(Path("README.md"), summaries)


if __name__ == "__main__":
    main()
