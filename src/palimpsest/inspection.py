"""From a file of `models/` or `results/` back to what it was made with.

Settings, seed, method and task are in the stored task itself; code commit, data and MLflow run are found through
the run that carries the SHA-256 of the stored tensors. What is not recorded is said to be missing, not left out.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest import tracking
from palimpsest.errors import StorageError
from palimpsest.layout import TRACKING_DATABASE
from palimpsest.methods import BASE
from palimpsest.storage.task_file import TaskFile, load_task

MISSING = "not recorded"


def inspect(path: Path) -> dict[str, Any]:
    """Where a file comes from: of a stored task everything, of results the trainings that they measure.

    Raises:
        StorageError: there is no such file, it is damaged, or it lies neither in ``models/`` nor ``results/``.
    """
    if not path.exists():
        raise StorageError(f"{path}: there is no such file")
    if path.suffix == ".safetensors":
        stored = load_task(path)
        return {"file": str(path), **of_task(stored), "settings": dict(stored.provenance.settings)}
    stored_tasks = list(measured_in(path))
    if not stored_tasks:
        raise StorageError(f"{path}: no stored task belongs to it; expected a file of models/ or results/")
    return {
        "file": str(path),
        "measures": {os.path.relpath(stored.path): of_task(stored) for stored in stored_tasks},
    }


def measured_in(path: Path) -> Iterator[TaskFile]:
    """The stored tasks that a file of results is about: of its preset, and of its seed and method where it has one.

    A method that builds on the base network is measured with it.
    """
    folders = path.resolve().parts
    if "results" not in folders:
        return
    place = len(folders) - 1 - folders[::-1].index("results")
    root, below = Path(*folders[:place]), folders[place + 1 :]
    if not below:
        return
    preset, *rest = below
    seed, method = "seed-*", "*"
    if len(rest) > 2 and rest[0] == "evaluation":
        seed, method = rest[1], rest[2]
    for stored in sorted((root / "models" / preset).glob(f"{seed}/*/*.safetensors")):
        if method in ("*", stored.parent.name) or stored.parent.name == BASE:
            yield load_task(stored)


def of_task(stored: TaskFile) -> dict[str, Any]:
    """One stored task: what it is, what it needs, and the run that made it."""
    origin = stored.provenance
    return {
        "preset": origin.preset,
        "seed": origin.seed,
        "method": origin.method,
        "task": origin.task,
        "sha256": stored.sha256,
        "base_network_sha256": origin.network_sha256 or "none: it brings its own",
        "bytes": {part.name: sum(t.nbytes for t in part.tensors.values()) for part in stored.components},
        **of_run(stored),
    }


def of_run(stored: TaskFile) -> dict[str, Any]:
    """The MLflow run that left these tensors, with the commit and the data it was made from."""
    tags: dict[str, str] = {}
    if TRACKING_DATABASE.exists():
        tags = tracking.run_of(stored.provenance.preset, stored.sha256)
    changed = " with uncommitted changes" if tags.get("code_changed") == "true" else ""
    commit = tags.get("mlflow.source.git.commit")
    return {
        "commit": f"{commit}{changed}" if commit else MISSING,
        "data_sha256": tags.get("data_sha256", MISSING),
        "mlflow_run": tags.get("run_id", MISSING),
    }
