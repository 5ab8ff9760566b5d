"""Table of a long sequence: what each task adds under one method, beside a network per task."""

from pathlib import Path

import pandas as pd

from palimpsest.report.readme import markdown
from palimpsest.settings import REFERENCE


def sequence_table(folder: Path, method: str) -> str:
    """Return a Markdown table with a row per task of the sequence, and a row with sums and means.

    ``folder`` has `quality.csv`, `growth.csv` and `costs.csv`. Columns are the quality right after the training
    on the task and after the last training, relative to `scratch`; the bytes that the task adds to the files that
    inference needs, by the method and by `scratch`; and the seconds of the method's training. All are means over
    the seeds.
    """
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("quality", "growth", "costs")}
    quality = (
        tables["quality"][tables["quality"]["method"] == method].groupby("task", sort=False).mean(numeric_only=True)
    )
    seconds = tables["costs"][tables["costs"]["method"] == method].groupby("task")["seconds"].mean()
    added = {name: added_kib(tables["growth"], name) for name in (method, REFERENCE)}
    header = [
        "",
        "task",
        "quality when learned (%)",
        "quality at the end (%)",
        f"KiB by `{method}`",
        f"KiB by `{REFERENCE}`",
        "s of training",
    ]
    rows = [
        [
            str(number),
            f"`{task}`",
            percentage(row["learned"]),
            percentage(row["final"]),
            f"{added[method].get(task, float('nan')):,.1f}",
            f"{added[REFERENCE].get(task, float('nan')):,.1f}",
            f"{seconds.get(task, float('nan')):.1f}" if task in seconds else "–",
        ]
        for number, (task, row) in enumerate(quality.iterrows(), 1)
    ]
    total = [
        "",
        "all",
        percentage(quality["learned"].mean()),
        percentage(quality["final"].mean()),
        f"{added[method].sum():,.1f}",
        f"{added[REFERENCE].sum():,.1f}",
        f"{seconds.sum():.1f}",
    ]
    return markdown([header, ["---:", "---", *["---:"] * 5], *rows, total])


def added_kib(growth: pd.DataFrame, method: str) -> pd.Series:
    """Return the KiB that each task adds to the files that inference needs, in the order of the sequence."""
    run = growth[(growth["method"] == method) & (growth["needed_to"] == "run")]
    total = run.groupby("task", sort=False)["bytes"].mean() / 1024
    return total.diff().fillna(total)


def percentage(value: float) -> str:
    """Return a share as text in per cent; a dash for a missing one."""
    return "–" if pd.isna(value) else f"{100 * value:.1f}"
