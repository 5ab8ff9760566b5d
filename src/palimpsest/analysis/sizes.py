"""Bytes, read off the stored files."""

import pandas as pd

from palimpsest.storage.recall import StoredTasks

MIB = 2**20
NOT_COUNTED = ("batchnorm", "head", "metadata")
"""What the study's accounting leaves out."""


def size_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """One row per component of each task's file: task, component, bytes, needed_to.

    A component that all tasks share counts once, with the task that wrote it last. What a file has beyond its
    tensors counts as ``metadata``.
    """
    rows: list[dict[str, object]] = []
    last = stored.sequence[-1]
    shared = {component.name for component in stored.file(last).components if component.shared}
    for task in stored.sequence:
        file = stored.file(task)
        superseded = shared if task != last else set()
        listed = 0
        for component in file.components:
            size = sum(tensor.nbytes for tensor in component.tensors.values())
            listed += size
            if component.name not in superseded:
                rows.append(row(task, component.name, size, component.needed_to))
        rows.append(row(task, "metadata", file.path.stat().st_size - listed, "run"))
    return rows


def row(task: str, component: str, size: int, needed_to: str) -> dict[str, object]:
    """One row of `sizes.csv`, without seed and method."""
    return {"task": task, "component": component, "bytes": size, "needed_to": needed_to}


def total_mib(sizes: pd.DataFrame) -> float:
    """MiB of the files needed to run all tasks of one method and seed."""
    return float(sizes.loc[sizes["needed_to"] == "run", "bytes"].sum()) / MIB


def study_mib(sizes: pd.DataFrame, decimals: int | None = None) -> float:
    """MiB by the study's accounting: weights alone, without BatchNorm, head and metadata.

    The study adds up sizes that it has rounded to one decimal (56.4 + 4 × 1.8 = 63.6); ``decimals=1`` does so.
    """
    counted = sizes[(sizes["needed_to"] == "run") & ~sizes["component"].isin(NOT_COUNTED)]
    each = counted.groupby("task")["bytes"].sum() / MIB
    return float((each if decimals is None else each.round(decimals)).sum())
