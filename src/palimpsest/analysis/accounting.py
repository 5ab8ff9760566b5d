"""Sizes added up, by file and as the study counts; from `sizes.csv` alone, so that it needs no PyTorch."""

import pandas as pd

MIB = 2**20
UNCOUNTED = ("batchnorm", "head", "metadata")
"""What the study's accounting leaves out: every task of every method has these, and they weigh next to nothing."""


def total_mib(sizes: pd.DataFrame) -> float:
    """MiB of the files needed to run all tasks of one method and seed."""
    return float(sizes.loc[sizes["needed_to"] == "run", "bytes"].sum()) / MIB


def study_mib(sizes: pd.DataFrame, decimals: int | None = None) -> float:
    """MiB by the study's accounting: weights alone, without BatchNorm, head and metadata.

    The study adds up sizes that it has rounded to one decimal (56.4 + 4 × 1.8 = 63.6); ``decimals=1`` does so.
    """
    counted = sizes[(sizes["needed_to"] == "run") & ~sizes["component"].isin(UNCOUNTED)]
    each = counted.groupby("task")["bytes"].sum() / MIB
    return float((each if decimals is None else each.round(decimals)).sum())
