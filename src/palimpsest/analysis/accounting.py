"""Sizes added up, by file and as the study counts; from `sizes.csv` alone, so that it needs no PyTorch."""

import math
from typing import Literal

import pandas as pd

from palimpsest.analysis.tables import columns_of, require_columns

MIB = 2**20
UNCOUNTED = ("batchnorm", "head", "metadata")
"""What the study's accounting leaves out: every task of every method has these, and they weigh next to nothing."""


def bytes_needed(
    sizes: pd.DataFrame, to: Literal["run", "learn"], method: str, weights_only: bool = False
) -> float:
    """Bytes that a method needs for all its tasks, mean over seeds; NaN where the table has no rows of it.

    weights_only: the study's accounting, without batch normalisation, heads and the files' metadata.
    """
    own = rows_of(sizes, method)
    if own.empty:
        return math.nan
    chosen = own[own["needed_to"] == to]
    if weights_only:
        chosen = chosen[~chosen["component"].isin(UNCOUNTED)]
    return float(chosen["bytes"].sum()) / own["seed"].nunique()


def rows_of(sizes: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of one method in `sizes.csv`."""
    require_columns(sizes, columns_of("sizes"), "sizes.csv")
    return sizes[sizes["method"] == method]
