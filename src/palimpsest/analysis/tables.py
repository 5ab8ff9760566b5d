"""Columns of the result tables, and the check that a table has them."""

from collections.abc import Collection, Sequence
from typing import Literal

import pandas as pd

from palimpsest.errors import DataError

Outcome = Literal["verified", "changed", "not comparable"]
"""Outcome of comparing predictions with those recorded after training; see `palimpsest.analysis.verification`."""
OUTCOMES: tuple[Outcome, ...] = ("changed", "not comparable", "verified")
"""All outcomes, the worst first; several cells together have their worst outcome."""

COLUMNS = {
    "metrics": ["task", "after", "metric", "value", "images", "checksum", "std_error"],
    "sizes": ["task", "component", "bytes", "needed_to", "bits_per_weight", "entropy"],
    "growth": ["task", "needed_to", "bytes"],
    "diagnostics": ["task", "name", "value"],
    "costs": ["task", "seconds", "peak_memory"],
    "losses": ["task", "step", "name", "value"],
    "verification": ["task", "after", "outcome", "reason"],
    "zeros": ["task", "layer", "weights", "zeros"],
    "similarity": ["task", "other", "similarity", "independent"],
}
"""Columns of each table after seed and method; a table without rows has them too."""


TABLE_ADVICE = "delete this file in results/<preset> and in all folders below, and run snakemake again"
"""Advice of messages about faulty tables, which the preset collects from files of the same name per method."""


def worst(outcomes: Collection[str]) -> Outcome | None:
    """Return the worst of several outcomes of comparing predictions (`OUTCOMES`); None if `outcomes` is empty."""
    return next((outcome for outcome in OUTCOMES if outcome in outcomes), None)


def columns_of(name: str) -> list[str]:
    """Return all columns of the table of a preset, a key of `COLUMNS`: seed, method and the columns there."""
    return ["seed", "method", *COLUMNS[name]]


def columns_of_ablation() -> list[str]:
    """Return the columns of the table of an ablation: those of `metrics.csv`, and two figures of each task.

    They are the steps of its training, and the bytes of all files that inference needs once it is learned.
    """
    return [*columns_of("metrics"), "steps", "bytes"]


def require_columns(table: pd.DataFrame, columns: Sequence[str], file: str) -> None:
    """Check that a table of results has the required columns; `file` is its name in messages.

    Raises:
        DataError: a column is missing.
    """
    for column in columns:
        if column not in table.columns:
            present = ", ".join(map(str, table.columns))
            raise DataError(f"{file}: column {column!r} is missing, found {present}; {TABLE_ADVICE}")
