"""Bytes of the stored tasks: rows of `sizes.csv` and `growth.csv`, without the columns seed and method."""

from dataclasses import replace

import pandas as pd

from palimpsest.storage.stored_task import open_task
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import TaskFile


def size_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """Return one row per component of the file of each stored task: task, component, bytes, needed_to.

    ``needed_to`` is ``run`` (needed for inference) or ``learn`` (only for further training). A component that all
    tasks share counts once, for the last task. The bytes of a file beyond its tensors count as ``metadata``. A base
    network that no task of the method owns counts under the name of its training, such as `autoencoder`.
    """
    rows: list[dict[str, object]] = []
    for path in stored.task_files.files():
        if path not in map(stored.path, stored.sequence):
            file = open_task(path)
            rows += file_rows(file.provenance.method, file, set())
    last_task = stored.sequence[-1]
    shared = {component.name for component in stored.open(last_task).components if component.shared}
    for task in stored.sequence:
        rows += file_rows(task, stored.open(task), shared if task != last_task else set())
    return rows


def growth_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """Return the bytes needed for each task together with all earlier tasks: task, needed_to, bytes.

    A task adds the difference to the bytes of the previous task, also if all tasks share a network.
    """
    rows: list[dict[str, object]] = []
    for number, task in enumerate(stored.sequence, 1):
        sizes = pd.DataFrame(size_rows(replace(stored, sequence=stored.sequence[:number])))
        for needed_to in ("run", "learn"):
            needed = int(sizes.loc[sizes["needed_to"] == needed_to, "bytes"].sum())
            rows.append({"task": task, "needed_to": needed_to, "bytes": needed})
    return rows


def file_rows(name: str, file: TaskFile, superseded: set[str]) -> list[dict[str, object]]:
    """Return the rows of a file under the name of a task, without the components that `superseded` names."""
    sizes = {c.name: sum(tensor.nbytes for tensor in c.tensors.values()) for c in file.components}
    rows = [size_row(name, c.name, sizes[c.name], c.needed_to) for c in file.components if c.name not in superseded]
    return [*rows, size_row(name, "metadata", file.path.stat().st_size - sum(sizes.values()), "run")]


def size_row(task: str, component: str, size: int, needed_to: str) -> dict[str, object]:
    """Return one row of `sizes.csv`, without the columns seed and method."""
    return {"task": task, "component": component, "bytes": size, "needed_to": needed_to}
