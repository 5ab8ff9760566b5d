"""The tables of results: which columns each has, and a check that a table has them."""

from collections.abc import Sequence

import pandas as pd

from palimpsest.errors import DataError

COLUMNS = {
    "metrics": ["task", "after", "metric", "value", "images", "checksum"],
    "sizes": ["task", "component", "bytes", "needed_to"],
    "growth": ["task", "needed_to", "bytes"],
    "diagnostics": ["task", "name", "value"],
    "costs": ["task", "seconds", "peak_memory"],
    "zeros": ["task", "layer", "weights", "zeros"],
    "similarity": ["task", "other", "similarity", "independent"],
}
"""Of each table after seed and method; a table without rows, as of masks where no method has any, has them too."""


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
