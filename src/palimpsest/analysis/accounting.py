"""Sums of the stored bytes of a method, from `sizes.csv` alone; this module needs no PyTorch."""

import math
from typing import Literal

import pandas as pd

from palimpsest.analysis.tables import columns_of, require_columns

MIB = 2**20
UNCOUNTED = ("batchnorm", "head", "metadata")
"""Components that the study's accounting leaves out; every task of every method has them, and they are small."""


def bytes_needed(
    sizes: pd.DataFrame, to: Literal["run", "learn"], method: str, weights_only: bool = False
) -> float:
    """Return the bytes that a method needs for all its tasks, mean over seeds; NaN if the table has no rows of it.

    weights_only: count as the study does, without `UNCOUNTED`.
    """
    rows = rows_of(sizes, method)
    if rows.empty:
        return math.nan
    chosen = rows[rows["needed_to"] == to]
    if weights_only:
        chosen = chosen[~chosen["component"].isin(UNCOUNTED)]
    return float(chosen["bytes"].sum()) / rows["seed"].nunique()


def rows_of(sizes: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the rows of one method in `sizes.csv`."""
    require_columns(sizes, columns_of("sizes"), "sizes.csv")
    return sizes[sizes["method"] == method]
