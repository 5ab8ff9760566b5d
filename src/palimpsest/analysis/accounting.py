"""Sums of the stored bytes of a method from `sizes.csv`; this module imports no PyTorch."""

import math
from typing import Literal

import pandas as pd

from palimpsest.analysis.tables import require_columns

MIB = 2**20
UNCOUNTED = ("batchnorm", "head", "metadata")
"""Components that the study does not count; every task of every method has them, and they are small."""


def bytes_needed(
    sizes: pd.DataFrame, to: Literal["run", "learn"], method: str, weights_only: bool = False
) -> float:
    """Return the bytes that a method needs for all its tasks, mean over seeds; NaN if the table has no row of it.

    sizes: the table of `sizes.csv`. to: ``run`` counts the files for inference, ``learn`` those that only further
    training needs. weights_only: leave out the components `UNCOUNTED`, as the study does.
    """
    rows = sizes_of_method(sizes, method)
    if rows.empty:
        return math.nan
    selected = rows[rows["needed_to"] == to]
    if weights_only:
        selected = selected[~selected["component"].isin(UNCOUNTED)]
    return float(selected["bytes"].sum()) / rows["seed"].nunique()


def sizes_of_method(sizes: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the rows of one method in the table of `sizes.csv`.

    Raises:
        DataError: the table lacks a column.
    """
    require_columns(sizes, ["seed", "method", "task", "component", "bytes", "needed_to"], "sizes.csv")
    return sizes[sizes["method"] == method]
