"""Bytes, read off the stored files."""

from dataclasses import replace

import pandas as pd

from palimpsest.storage.stored_task import open_task
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import TaskFile


def size_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """One row per component of each task's file: task, component, bytes, needed_to.

    A component that all tasks share counts once, with the task that wrote it last. What a file has beyond its
    tensors counts as ``metadata``. A base network that is no task of the method's counts under the name of the
    training that made it.
    """
    rows: list[dict[str, object]] = []
    for path in stored.task_files.files():
        if path not in map(stored.path, stored.sequence):
            file = open_task(path)
            rows += file_rows(file.provenance.method, file, set())
    last = stored.sequence[-1]
    shared = {component.name for component in stored.file(last).components if component.shared}
    for task in stored.sequence:
        rows += file_rows(task, stored.file(task), shared if task != last else set())
    return rows


def growth_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """Bytes of all that is needed once a task has been learned, and only those before it: task, needed_to, bytes.

    What each task adds is the difference to the task before, also where all tasks share a network.
    """
    rows: list[dict[str, object]] = []
    for number, task in enumerate(stored.sequence, 1):
        sizes = pd.DataFrame(size_rows(replace(stored, sequence=stored.sequence[:number])))
        for needed_to in ("run", "learn"):
            needed = int(sizes.loc[sizes["needed_to"] == needed_to, "bytes"].sum())
            rows.append({"task": task, "needed_to": needed_to, "bytes": needed})
    return rows


def file_rows(name: str, file: TaskFile, superseded: set[str]) -> list[dict[str, object]]:
    """The components of one file, without those that a later task has superseded."""
    sizes = {c.name: sum(tensor.nbytes for tensor in c.tensors.values()) for c in file.components}
    rows = [row(name, c.name, sizes[c.name], c.needed_to) for c in file.components if c.name not in superseded]
    return [*rows, row(name, "metadata", file.path.stat().st_size - sum(sizes.values()), "run")]


def row(task: str, component: str, size: int, needed_to: str) -> dict[str, object]:
    """One row of `sizes.csv`, without seed and method."""
    return {"task": task, "component": component, "bytes": size, "needed_to": needed_to}
