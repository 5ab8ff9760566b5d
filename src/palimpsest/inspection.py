"""From a file of `models/` or `results/` back to what it was made with.

Settings, seed, method and task are in the stored task itself; code commit, data and MLflow run are found through
the run that carries the SHA-256 of the stored tensors, in the database of the folder of the study. What is not
recorded there is said to be missing, not left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from palimpsest import tracking
from palimpsest.errors import StorageError
from palimpsest.layout import TRACKING_DATABASE, Layout
from palimpsest.methods import BASE
from palimpsest.methods.base import Component
from palimpsest.settings import FLOOR
from palimpsest.storage.task_file import TaskFile, load_task

MISSING = "not recorded"


def inspect(path: Path) -> dict[str, Any]:
    """Where a file comes from: of a stored task everything, of results the trainings that they measure.

    Paths are relative to the folder of the study, in which this has to be called.

    Raises:
        StorageError: there is no such file, it is damaged, or it is neither a stored task nor a result.
    """
    if not path.exists():
        raise StorageError(f"{path}: there is no such file")
    if path.suffix == ".safetensors":
        stored = load_task(path)
        return {"file": str(path), **of_task(stored), "settings": dict(stored.provenance.settings)}
    return {"file": str(path), "measures": {str(found): of_task(load_task(found)) for found in measured_in(path)}}


def measured_in(path: Path) -> Iterator[Path]:
    """The stored tasks that a file of results is about, by the rows of the `metrics.csv` it belongs to.

    Raises:
        StorageError: the file is no result, or the stored task that was measured is gone.
    """
    try:
        preset, *below = path.resolve().relative_to(Path("results").resolve()).parts
    except ValueError as error:
        raise StorageError(f"{path}: expected a file below models/ or results/ of this folder") from error
    layout = Layout(preset)
    table = layout.results / "metrics.csv"
    if not table.exists():
        raise StorageError(f"{path}: {table} is missing, which says what was measured; `snakemake all` makes it")
    rows = pd.read_csv(table, usecols=["seed", "method", "task"], dtype={"task": str}).drop_duplicates()
    rows = rows[rows["method"] != FLOOR]
    if below[:1] == ["evaluation"] and len(below) > 2:
        rows = rows[(rows["seed"].map("seed-{}".format) == below[1]) & (rows["method"] == below[2])]
    found: dict[Path, None] = {}
    for seed, method, task in rows.itertuples(index=False, name=None):
        own, base = layout.stored(seed, method, task), layout.stored(seed, BASE, task)
        if not own.exists() and not base.exists():
            raise StorageError(f"{own}: was measured, and is gone; `snakemake --cores all {own}` makes it")
        found[own if own.exists() else base] = None
    yield from found


def of_task(stored: TaskFile) -> dict[str, Any]:
    """One stored task: what it is, what is in it, what it needs, and the run that made it."""
    origin = stored.provenance
    return {
        "preset": origin.preset,
        "seed": origin.seed,
        "method": origin.method,
        "task": origin.task,
        "sha256": stored.sha256,
        "base_network_sha256": origin.network_sha256 or "none: it brings its own",
        "components": {part.name: of_component(part) for part in stored.components},
        **of_run(stored),
    }


def of_component(part: Component) -> dict[str, Any]:
    """Bytes and tensors of a component; of bits also the share that is kept, layer by layer."""
    about: dict[str, Any] = {
        "bytes": sum(tensor.nbytes for tensor in part.tensors.values()),
        "tensors": len(part.tensors),
        "needed_to": part.needed_to,
    }
    if part.name == "mask":
        ones = {layer: int(np.bitwise_count(bits.numpy()).sum()) for layer, bits in part.tensors.items()}
        about["ones"] = {layer: f"{ones[layer]} in {8 * part.tensors[layer].numel()} bits" for layer in ones}
    return about


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
