"""From a file of `models/` or `results/` back to what it was made with.

Settings, seed, commit and data stand in the stored task itself, and of measurements in the `origin.json` beside
them: they travel with the files. The MLflow run is the one that carries the SHA-256 of the stored tensors, in the
database of the folder in which the task was trained. What is not recorded is said to be missing, not left out.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from palimpsest import tracking
from palimpsest.errors import StorageError
from palimpsest.layout import PREDICTIONS, SWEEP, TRACKING_DATABASE, Layout
from palimpsest.methods.base import Component
from palimpsest.settings import FLOOR
from palimpsest.storage.prediction_record import load_record
from palimpsest.storage.task_file import TaskFile, load_task
from palimpsest.sweeps import measured_below
from palimpsest.task_files import TaskFiles

MISSING = "not recorded"
NO_DATABASE = f"unknown: there is no {TRACKING_DATABASE} here; it stays in the folder of the training"

Measured = tuple[Layout, int, str, str]
"""Layout (of a preset, or of a variant in a sweep), seed, method and task."""


def inspect(path: Path) -> dict[str, Any]:
    """Where a file comes from: of results what they were measured with, and the trainings that they measure.

    Paths are relative to the folder of the study, in which this has to be called.

    Raises:
        StorageError: there is no such file, it is damaged, or it is neither a stored task nor a result.
    """
    if not path.exists():
        raise StorageError(f"{path}: there is no such file")
    if path.suffix == ".safetensors":
        return {"file": str(path), **of_task(load_task(path))}
    if path.name.endswith(PREDICTIONS):
        stored = path.with_name(path.name.removesuffix(PREDICTIONS) + ".safetensors")
        return {"file": str(path), **of_task(load_task(stored)), "predictions": asdict(load_record(path))}
    measured, origins = composed_in(path) or measured_in(path)
    return {
        "file": str(path),
        "measured_with": {str(origin.parent): origin_of(origin) for origin in origins},
        "measures": {str(found): of_task(load_task(found)) for found in dict.fromkeys(trainings(measured))},
    }


def composed_in(path: Path) -> tuple[list[Measured], list[Path]] | None:
    """The two tasks that a file of a composition is about, and the file that says so; None of any other file.

    Raises:
        StorageError: that file is missing or damaged.
    """
    place, results = path.resolve(), Path("results").resolve()
    parts = place.relative_to(results).parts if place.is_relative_to(results) else ()
    if len(parts) < 3 or parts[1] != "compositions":
        return None
    layout = Layout(parts[0])
    origin = layout.composition(parts[2]) / "origin.json"
    try:
        cut = origin_of(origin)["settings"]
        return [(layout, cut["seed"], cut["method"], task) for task in cut["sequence"]], [origin]
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{origin}: does not say what was composed; `snakemake --cores all {origin}` makes it anew"
        ) from error


def measured_in(path: Path) -> tuple[list[Measured], list[Path]]:
    """What a file of results is about, by the rows of the tables that hold it; and the files that say what it was
    measured with.

    Raises:
        StorageError: the file is no result, or no such table is there, or none has rows of this file.
    """
    try:
        preset, *below = path.resolve().relative_to(Path("results").resolve()).parts
    except ValueError as error:
        raise StorageError(f"{path}: expected a file below models/ or results/ of this folder") from error
    if not below:
        raise StorageError(f"{path}: belongs to no preset, and there is no training behind it")
    layout = Layout(preset.removesuffix(SWEEP))
    tables = tables_of(path, layout, below, of_variant=preset.endswith(SWEEP))
    measured = [row for table in tables for row in rows_of(table, layout)]
    place = path.resolve()
    if "evaluation" in below:
        measured = [row for row in measured if place.is_relative_to(row[0].evaluation(*row[1:3]).resolve())]
    measured = list(dict.fromkeys(measured))
    if not measured:
        told = ", ".join(map(str, tables))
        raise StorageError(f"{path}: {told} has no rows of it, so that it is left over from another study")
    origins = dict.fromkeys(layout.origin(seed, method) for layout, seed, method, _ in measured)
    return measured, list(origins)


def tables_of(path: Path, layout: Layout, below: Sequence[str], *, of_variant: bool) -> list[Path]:
    """The tables that say what a file of results is about: of the preset, of a sweep, of both for what both hold.

    Raises:
        StorageError: none is there.
    """
    swept, whole = measured_below(layout.results), layout.results / "metrics.csv"
    if of_variant:
        tables, target = swept, "sweep"
    elif below[0] == "sweep":
        tables, target = [layout.sweep(path.stem.removesuffix("-settings"))], str(path)
    else:
        tables, target = [whole, *(swept if below[0] == "evaluation" else ())], "all"
    found = [table for table in tables if table.exists()]
    if not found:
        missing = tables[0] if tables else layout.results / "sweep"
        raise StorageError(
            f"{path}: {missing} is missing, which says what was measured; `snakemake --cores all {target}` makes it"
        )
    return found


def rows_of(table: Path, layout: Layout) -> Iterator[Measured]:
    """What the rows of a table are about."""
    rows = pd.read_csv(table, dtype={"variant": str, "task": str}).fillna({"variant": ""})
    columns = [name for name in ("variant", "seed", "method", "task") if name in rows]
    for *variant, seed, method, task in rows[columns].drop_duplicates().itertuples(index=False, name=None):
        yield Layout(layout.preset, *variant), seed, method, task


def trainings(measured: Iterable[Measured]) -> Iterator[Path]:
    """The stored tasks that were measured, of which the floor has none.

    Raises:
        StorageError: one is gone.
    """
    for layout, seed, method, task in measured:
        if method == FLOOR:
            continue
        own = layout.stored(seed, method, task)
        base = [TaskFiles(replace(layout, own_base=has), seed, method, [task]).base for has in (True, False)]
        found = next((file for file in (own, *base) if file.exists()), None)
        if found is None:
            raise StorageError(f"{own}: was measured, and is gone; `snakemake --cores all {own}` makes it")
        yield found


def origin_of(path: Path) -> Any:
    """What measurements were made with.

    Raises:
        StorageError: the file is damaged.
    """
    if not path.exists():
        return MISSING
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError(f"{path}: is damaged ({error}); `snakemake --cores all {path}` makes it anew") from error


def of_task(stored: TaskFile) -> dict[str, Any]:
    """One stored task: what it is, what is in it, what it needs, and what it was made with."""
    origin = stored.provenance
    return {
        "preset": origin.preset,
        "seed": origin.seed,
        "method": origin.method,
        "task": origin.task,
        "sha256": stored.sha256,
        "base_network_sha256": origin.network_sha256 or "none: it brings its own",
        "components": {part.name: of_component(part) for part in stored.components},
        "commit": origin.commit or MISSING,
        "data_sha256": origin.data_sha256 or MISSING,
        "mlflow_run": run_of(stored),
        "settings": dict(origin.settings),
    }


def of_component(part: Component) -> dict[str, Any]:
    """Bytes and tensors of a component; where bits say which weights take part also how many do, layer by layer."""
    about: dict[str, Any] = {
        "bytes": sum(tensor.nbytes for tensor in part.tensors.values()),
        "tensors": len(part.tensors),
        "needed_to": part.needed_to,
    }
    if part.kept:
        ones = {layer: int(np.bitwise_count(bits.numpy()).sum()) for layer, bits in part.kept.items()}
        about["ones"] = {layer: f"{ones[layer]} in {8 * bits.numel()} bits" for layer, bits in part.kept.items()}
    return about


def run_of(stored: TaskFile) -> str:
    """Return the MLflow run that left these tensors, or why it is unknown."""
    if not TRACKING_DATABASE.exists():
        return NO_DATABASE
    try:
        return tracking.run_of(stored.provenance.preset, stored.sha256) or MISSING
    except StorageError as error:
        return f"unknown: {error}"
