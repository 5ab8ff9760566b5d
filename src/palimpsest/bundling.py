"""Bundle of the stored tasks of a study: one method and seed, all tasks or some of them."""

import csv
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from palimpsest import __version__
from palimpsest.bundle import Bundle
from palimpsest.bundle_entries import INPUT, Dtype, component_sizes, quality_of, task_entry, with_dtype
from palimpsest.errors import SettingsError, StorageError, check_name
from palimpsest.jobs import without_training
from palimpsest.methods import METHODS, method_class
from palimpsest.methods.base import State
from palimpsest.settings import Settings
from palimpsest.storage.bit_code import encoded_bits
from palimpsest.storage.bundle_file import (
    BASE,
    SHARED,
    TASKS,
    BundleFile,
    PartTensors,
    describe_parts,
    part_sha256,
)
from palimpsest.storage.bundle_header import Header, Origin, Quality, TaskEntry, header_sha256
from palimpsest.storage.stored_task import LoadedTask, StoredTask
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import unusable
from palimpsest.tasks import build_task
from palimpsest.tasks.settings import TaskSettings

INFERENCE = ("method", "method_settings", "network", "tasks")
"""Settings of a training that inference needs and that have their own entries in the header."""
OF_TASK = ("pictures", "batch_size", "steps")
"""Settings of one task in a training."""


def bundle_study(
    settings: Settings, seed: int, method: str, tasks: Sequence[str] = (), dtype: Dtype = "float32"
) -> Bundle:
    """Return the bundle of a method's stored tasks; without ``tasks``, of the whole sequence.

    Components that all tasks share are those after the training of the latest of these tasks.

    Raises:
        SettingsError: a task is not in the sequence, or the method needs another ``dtype``.
        StorageError: a file is missing or damaged, or the files are of different networks.
    """
    if dtype != "float32" and method_class(method).needs_exact_base:
        raise SettingsError(f"{method} needs the base network's weights in float32; leave out --dtype {dtype}")
    chosen = [check_name(name, settings.sequence, "task") for name in tasks] or settings.sequence
    names = [name for name in settings.sequence if name in chosen]
    stored = StoredTasks.of(settings, seed, method)
    check_trained(settings, stored, names)
    opened = {name: stored.open(name) for name in names}
    latest = opened[names[-1]]
    common: dict[str, State] = {}
    base = stored.base.open(stored.sequence[0]) if METHODS[method].adds_to_base else None
    if base is not None:
        common[BASE] = base.trunk()
    shared = [part for part in latest.components if part.shared and part.needed_to == "run"]
    if shared:
        common[SHARED] = {name: tensor for part in shared for name, tensor in part.tensors.items()}

    parts: dict[str, PartTensors] = {name: with_dtype(part, dtype) for name, part in common.items()}
    base_sha256 = part_sha256(parts[BASE]) if BASE in parts else None
    entries = []
    for name, task in opened.items():
        if not task.network.fits(latest.network):
            raise unusable(task.path, f"expected the network {latest.network!r}, found {task.network!r}")
        loaded = task.load(latest)
        on_base = base is not None and task.provenance.network_sha256 == base.sha256
        used, rest = split(loaded, common, on_base=on_base)
        parts[f"{TASKS}{name}"], coded = encoded_bits(with_dtype(rest, dtype))
        task_settings = in_order(task.task_settings, settings.tasks[name])
        entry = entry_of(task, task_settings, used, parts[f"{TASKS}{name}"], coded)
        measured = quality(settings, seed, method, name, names[-1])
        update = {"base_sha256": base_sha256 if on_base else None, "quality": measured}
        entries.append(entry.model_copy(update=update))
    header = Header(
        version=__version__,
        dtype=dtype,
        network=latest.network.for_inference().model_dump(mode="json"),
        input=INPUT,
        parts=describe_parts(parts),
        tasks=entries,
    )
    return Bundle(BundleFile(Path(f"{settings.preset}.safetensors"), header, parts, header_sha256(header)))


def check_trained(settings: Settings, stored: StoredTasks, names: Sequence[str]) -> None:
    """Check that the files of these tasks and of their base network exist.

    Raises:
        StorageError: a file is missing; the message has the command that trains it.
    """
    for path in reversed(stored.task_files.files(names)):
        if not path.exists():
            command = training_command(settings, stored.seed, stored.method, path)
            raise StorageError(f"{path}: not trained yet; make it with: {command}")


def training_command(settings: Settings, seed: int, method: str, path: Path) -> str:
    """Return the Snakemake command that makes a stored task, with its preset, and its seed and method if needed."""
    config = [f"preset={settings.preset}"]
    if seed not in settings.seeds:
        config.append(f"seeds=[{seed}]")
    if method not in settings.methods:
        config.append(f"methods=[{method}]")
    return shlex.join(["snakemake", "--cores", "all", path.as_posix(), "--config", *config])


def split(loaded: LoadedTask, common: Mapping[str, State], *, on_base: bool) -> tuple[list[str], State]:
    """Return the common parts whose tensors are all among those of a task, and the task's other tensors.

    The tensors of a task that is not ``on_base``, but extends another network, include those of that network.
    """
    rest = dict(loaded.tensors) if on_base else {**loaded.base, **loaded.tensors}
    used = []
    for part, tensors in common.items():
        if not (on_base and part == BASE) and all(
            name in rest and torch.equal(rest[name], tensor) for name, tensor in tensors.items()
        ):
            used.append(part)
            rest = {name: tensor for name, tensor in rest.items() if name not in tensors}
    return used, rest


def in_order(stored: TaskSettings, current: TaskSettings) -> TaskSettings:
    """Return the settings of a stored task, whose classes are in the order of their labels.

    Files of version 0.1.0 have them in alphabetical order. If they are otherwise equal, the order is that of
    ``current``.
    """
    without = without_training(current)
    return without if without == stored else stored


def entry_of(
    task: StoredTask,
    settings: TaskSettings,
    used: Sequence[str],
    tensors: State,
    coded: Mapping[str, list[int]],
) -> TaskEntry:
    """Return the header's entry of a stored task, which uses these common parts and has ``tensors``.

    ``coded`` are the shapes of those that are codes of bits.
    """
    origin = task.provenance
    (raw,) = (raw for raw in origin.settings["tasks"] if raw["name"] == origin.task)
    trained = {key: value for key, value in origin.settings.items() if key not in INFERENCE}
    trained |= {key: raw[key] for key in OF_TASK if key in raw}
    return task_entry(
        build_task(origin.task, settings),
        settings,
        size=task.size,
        method=origin.method,
        method_settings=task.trained_with.method_settings,
        coded=coded,
        components=component_sizes(task.components, tensors),
        parts=used,
        origin=Origin(
            preset=origin.preset,
            seed=origin.seed,
            commit=origin.commit,
            data_sha256=origin.data_sha256,
            encoder_sha256=origin.encoder_sha256,
            tensors_sha256=task.sha256,
            settings=trained,
        ),
    )


def quality(settings: Settings, seed: int, method: str, task: str, after: str) -> Quality | None:
    """Return the metrics of a task after the training of ``after``, as the study measured them.

    None if the study has no measurement of this method and seed.
    """
    path = settings.layout.evaluation(seed, method) / "metrics.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["task"], row["after"]) == (task, after)]
    values = {row["metric"]: float(row["value"] or "nan") for row in rows}
    measured = quality_of(settings.split, int(rows[0]["images"]) if rows else 0, values)
    return measured if measured.metrics else None
