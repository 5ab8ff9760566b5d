"""Origin of a file of `models/` or `results/`.

The header of a stored task contains its settings, seed, commit and data; `origin.json` contains those of
measurements. The MLflow run is found by its tag, the SHA-256 of the stored tensors, in the database of the folder
in which the task was trained. Values without a record are printed as `not recorded`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from palimpsest.errors import StorageError
from palimpsest.layout import CURRENT, PREDICTIONS, SWEEP, TRACKING_DATABASE, Layout, Shared, making_command
from palimpsest.methods.base import Component
from palimpsest.settings import FLOOR
from palimpsest.storage.description import describe_masks
from palimpsest.storage.prediction_record import load_record
from palimpsest.storage.task_file import TaskFile, load_task
from palimpsest.task_files import TaskFiles
from palimpsest.tracking import runs
from palimpsest.variants import ablation_tables, sweep_tables

MISSING = "not recorded"
"""Printed value of a property without a record."""
NO_DATABASE = f"unknown: {TRACKING_DATABASE} is missing here; look in the folder of the training"

Measured = tuple[Layout, int, str, str]
"""One measured training: layout (of a preset, or of a variant in a sweep), seed, method and task."""


def inspect(path: Path) -> dict[str, Any]:
    """Return the origin of a file by property; for results, of the measurement and of every measured training.

    Relative paths start in the folder that contains models/ and results/, which has to be the working directory.

    Raises:
        StorageError: the file is missing, damaged, or neither a stored task nor a result.
    """
    if not path.exists():
        raise StorageError(f"{path}: is missing; name a bundle, or a file below models/ or results/")
    if path.suffix == ".safetensors":
        return {"file": str(path), **describe_task(load_task(path))}
    if path.name.endswith(PREDICTIONS):
        stored = path.with_name(path.name.removesuffix(PREDICTIONS) + ".safetensors")
        record = asdict(replace(load_record(path), losses=()))  # the report draws them
        return {"file": str(path), **describe_task(load_task(stored)), "predictions": record}
    measured, origins = composed_in(path) or measured_in(path)
    return {
        "file": str(path),
        "measured_with": {str(origin.parent): origin_of(origin) for origin in origins},
        "measures": {str(file): describe_task(load_task(file)) for file in dict.fromkeys(stored_files(measured))},
    }


def composed_in(path: Path) -> tuple[list[Measured], list[Path]] | None:
    """Return the trainings of the two tasks behind a file of a composition, and the path of its `origin.json`.

    The result is None for any other file.

    Raises:
        StorageError: `origin.json` is missing or damaged.
    """
    absolute, results = path.resolve(), Path("results").resolve()
    parts = absolute.relative_to(results).parts if absolute.is_relative_to(results) else ()
    if len(parts) < 3 or parts[1] != "compositions":
        return None
    layout = Layout(parts[0])
    origin = layout.composition(parts[2]) / "origin.json"
    try:
        job = origin_of(origin)["settings"]
        return [(layout, job["seed"], job["method"], task) for task in job["sequence"]], [origin]
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{origin}: the composed tasks are not recorded; delete the file, if it exists: "
            f"`{making_command(origin)}` makes it again"
        ) from error


def measured_in(path: Path) -> tuple[list[Measured], list[Path]]:
    """Return the trainings that a file of results measures, and the `origin.json` of each measurement.

    The trainings are read from the rows of the preset's tables, see `tables_of`.

    Raises:
        StorageError: the file is not below results/, its tables are missing, or they have no row for it.
    """
    try:
        preset, *parts = path.resolve().relative_to(Path("results").resolve()).parts
    except ValueError as error:
        raise StorageError(
            f"{path}: is not below models/ or results/ of this folder; run palimpsest in the folder with both"
        ) from error
    if not parts:
        raise StorageError(f"{path}: belongs to no preset; name a file below results/<preset>/")
    layout = Layout(preset.removesuffix(SWEEP))
    tables = tables_of(path, layout, parts, of_variant=preset.endswith(SWEEP))
    measured = [training for table in tables for training in listed_trainings(table, layout)]
    absolute = path.resolve()
    if "evaluation" in parts:
        measured = [
            training
            for training in measured
            if absolute.is_relative_to(training[0].evaluation(*training[1:3]).resolve())
        ]
    measured = list(dict.fromkeys(measured))
    if not measured:
        names = ", ".join(map(str, tables))
        raise StorageError(f"{path}: belongs to an earlier study, since {names} has no row for it; delete it")
    origins = dict.fromkeys(layout.origin(seed, method) for layout, seed, method, _ in measured)
    return measured, list(origins)


def tables_of(path: Path, layout: Layout, parts: Sequence[str], *, of_variant: bool) -> list[Path]:
    """Return the existing tables that list a result file's trainings: of the preset, or of its variants.

    ``parts`` are the parts of the file's path below the preset's folder; ``of_variant`` is True for a file of a
    variant.

    Raises:
        StorageError: none of these tables exists.
    """
    name = path.stem.removesuffix("-settings")
    if of_variant:
        tables, target = [*sweep_tables(layout.results), *ablation_tables(layout.results)], "sweep ablations"
    elif parts[0] in ("sweep", "ablation"):
        tables, target = [layout.sweep(name) if parts[0] == "sweep" else layout.ablation(name)], str(path)
    else:
        tables, target = [layout.results / "metrics.csv"], "all"
    existing = [table for table in tables if table.exists()]
    if not existing:
        missing = tables[0] if tables else layout.results / "sweep"
        raise StorageError(f"{path}: its table {missing} is missing; `{making_command(missing, target)}` makes it")
    return existing


def listed_trainings(table: Path, layout: Layout) -> Iterator[Measured]:
    """Yield each training that the rows of a table name, once; ``layout`` is that of the preset.

    The table of a sweep has a column with the variant, empty for `CURRENT`; that of an ablation has its name.
    """
    rows = pd.read_csv(table, dtype={"variant": str, "task": str}).fillna({"variant": ""})
    columns = [name for name in ("variant", "seed", "method", "task") if name in rows]
    of_ablation = [table.stem] if table.parent.name == "ablation" else []
    for *variant, seed, method, task in rows[columns].drop_duplicates().itertuples(index=False, name=None):
        name = [*of_ablation, *variant]
        of_row = Layout(layout.preset, CURRENT, "all") if name == [""] else Layout(layout.preset, *name)
        yield of_row, seed, method, task


def stored_files(measured: Iterable[Measured]) -> Iterator[Path]:
    """Yield the file of the stored task of each training; the trivial baseline has none.

    Raises:
        StorageError: a file is missing.
    """
    for layout, seed, method, task in measured:
        if method == FLOOR:
            continue
        stored = layout.stored(seed, method, task)
        layouts = [replace(layout, shares=shares) for shares in get_args(Shared)] if layout.variant else [layout]
        tasks = [possible.stored(seed, method, task) for possible in layouts]
        bases = [TaskFiles(possible, seed, method, [task]).base for possible in layouts]
        file = next((path for path in (stored, *tasks, *bases) if path.exists()), None)
        if file is None:
            raise StorageError(f"{stored}: was measured and is missing; `{making_command(stored)}` makes it")
        yield file


def origin_of(path: Path) -> Any:
    """Return the content of an `origin.json`; `MISSING` if the file does not exist.

    Raises:
        StorageError: the file is damaged.
    """
    if not path.exists():
        return MISSING
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError(
            f"{path}: is damaged ({error}); delete it: `{making_command(path)}` makes it again"
        ) from error


def describe_task(stored: TaskFile) -> dict[str, Any]:
    """Return content, base network and origin of a stored task by property, as `palimpsest inspect` prints them."""
    origin = stored.provenance
    return {
        "preset": origin.preset,
        "seed": origin.seed,
        "method": origin.method,
        "task": origin.task,
        "sha256": stored.sha256,
        "base_network_sha256": origin.network_sha256 or "none: the task has a network of its own",
        "components": {part.name: describe_component(part, stored.sizes[part.name]) for part in stored.components},
        "commit": origin.commit or MISSING,
        "data_sha256": origin.data_sha256 or MISSING,
        "encoder_sha256": origin.encoder_sha256 or "none: random initial weights",
        "mlflow_run": describe_run(stored),
        "settings": dict(origin.settings),
    }


def describe_component(part: Component, size: int) -> dict[str, Any]:
    """Return bytes and number of tensors of a component; for a mask also the number of ones in each layer."""
    content: dict[str, Any] = {
        "bytes": size,
        "tensors": len(part.tensors),
        "needed_to": part.needed_to,
    }
    if part.mask_bits:
        content["ones"] = describe_masks(part.mask_bits)
    return content


def describe_run(stored: TaskFile) -> str:
    """Return the id of the MLflow run that stored these tensors, or the reason why it is unknown."""
    if not TRACKING_DATABASE.exists():
        return NO_DATABASE
    try:
        return runs.run_of_tensors(stored.provenance.preset, stored.sha256) or MISSING
    except StorageError as error:
        return f"unknown: {error}"
