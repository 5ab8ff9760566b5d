"""Bytes, read off the stored files."""

from palimpsest.storage.recall import StoredTasks


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
