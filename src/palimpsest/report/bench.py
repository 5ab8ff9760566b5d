"""Table of `make bench`."""

from collections.abc import Mapping
from typing import Any

from palimpsest.report.readme import markdown


def bench_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the content of `bench.json` as a Markdown table, one row per figure: median, quartiles and meaning."""
    rows = [["figure", "median", "quartiles", "what it is"], ["---", "---:", "---:", "---"]]
    for name, figure in figures.items():
        spread = f"{figure['low']:.3f} … {figure['high']:.3f}"
        rows.append([f"`{name}`", f"{figure['ratio']:.3f}", spread, figure["unit"]])
    return markdown(rows)
