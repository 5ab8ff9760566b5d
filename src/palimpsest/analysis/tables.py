"""The tables of results: which columns each has, and a check that a table has them."""

from collections.abc import Collection, Sequence
from typing import Literal

import pandas as pd

from palimpsest.errors import DataError

Outcome = Literal["verified", "changed", "not comparable"]
"""Outcome of comparing predictions with those of the time of learning; see `palimpsest.analysis.verification`."""
OUTCOMES: tuple[Outcome, ...] = ("changed", "not comparable", "verified")
"""The worst first: the outcome of several cells is the first of these that occurs."""

COLUMNS = {
    "metrics": ["task", "after", "metric", "value", "images", "checksum"],
    "sizes": ["task", "component", "bytes", "needed_to"],
    "growth": ["task", "needed_to", "bytes"],
    "diagnostics": ["task", "name", "value"],
    "costs": ["task", "seconds", "peak_memory"],
    "verification": ["task", "after", "outcome", "reason"],
    "zeros": ["task", "layer", "weights", "zeros"],
    "similarity": ["task", "other", "similarity", "independent"],
}
"""Of each table after seed and method; a table without rows, as of masks where no method has any, has them too."""


def worst(outcomes: Collection[str]) -> Outcome | None:
    """Return the outcome of all these comparisons together; None without any."""
    return next((outcome for outcome in OUTCOMES if outcome in outcomes), None)


def columns_of(name: str) -> list[str]:
    """All columns of a table of a preset."""
    return ["seed", "method", *COLUMNS[name]]


def require_columns(table: pd.DataFrame, columns: Sequence[str], file: str) -> None:
    """Check that a table of results has its columns.

    Raises:
        DataError: names the first that is missing, and those that are there.
    """
    for column in columns:
        if column not in table.columns:
            found = ", ".join(map(str, table.columns))
            raise DataError(f"{file}: column {column!r} is missing; found {found}")
