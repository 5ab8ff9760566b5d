"""A new task on an existing bundle, learned without the study and without old data.

The settings of the training are those of a task of the bundle that the study trained in the same way, so that they
suit the base network. The base network and all old tasks stay as they are, bit for bit.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from palimpsest import __version__
from palimpsest.analysis.measurement import Measurement, measure
from palimpsest.bundle import Bundle, open_bundle
from palimpsest.bundle_entries import component_sizes, quality_of, task_entry, with_dtype
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.data.pair_splits import VAL_SHARE
from palimpsest.data.pictures import Pixels
from palimpsest.data.reader import DatasetReader
from palimpsest.data.user_data import has_split
from palimpsest.devices import device_for
from palimpsest.errors import DataError, SettingsError, StorageError, TrainingError
from palimpsest.evaluation import HELD_OUT, prepare_user_data, sample_spec
from palimpsest.groups import CropSettings, TrainingSettings
from palimpsest.inference import Predictor
from palimpsest.methods import method_class
from palimpsest.methods.base import Component, Start, load_into, with_multipliers
from palimpsest.methods.compact import make_compact, stored_components
from palimpsest.networks import build_network
from palimpsest.schema import NAME, NAME_ADVICE
from palimpsest.storage.bit_code import encoded_bits
from palimpsest.storage.bundle_file import BASE, TASKS, BundleFile, describe_parts
from palimpsest.storage.bundle_header import Origin, TaskEntry, header_sha256
from palimpsest.storage.stored_task import LoadedTask
from palimpsest.storage.task_file import content_sha256
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Task
from palimpsest.tasks.settings import TaskSettings
from palimpsest.training.loop import EpochDone, Plan, TaskData, start_fabric, train
from palimpsest.working_folder import CHECKPOINT

SHOWN = 4
"""Number of validation pictures in the sample."""


@dataclass(frozen=True)
class NewTask:
    """Task to learn, with its data and the settings that differ from those of the template."""

    name: str
    settings: TaskSettings
    reader: DatasetReader
    method: str = "piggyback"
    steps: int | None = None
    batch_size: int | None = None
    threads: int = 1


@dataclass(frozen=True)
class Added:
    """Bundle with the new task, and the measurement of this task on its validation pictures."""

    bundle: Bundle
    measured: Measurement
    sample: Pixels
    """Input, target and output of some validation pictures, uint8 (H, W, 3)."""


def template_of(bundle: Bundle, kind: str, method: str) -> TaskEntry:
    """Return the entry of the task whose training the new one copies: of the same method, if possible also kind.

    Raises:
        SettingsError: the bundle has no task of this method.
    """
    entries = [entry for entry in bundle.entries.values() if entry.method == method and entry.base_sha256]
    if not entries:
        names = ", ".join(dict.fromkeys(entry.method for entry in bundle.entries.values() if entry.base_sha256))
        advice = f"choose from {names}" if names else "make a bundle of a method on a base network, as piggyback"
        raise SettingsError(f"{bundle.file.path}: has no task of the method {method}; {advice}")
    return next((entry for entry in entries if entry.kind == kind), entries[0])


def add_task(bundle: Bundle, new: NewTask, work: Path, on_epoch: EpochDone = lambda history: None) -> Added:
    """Learn a task on the base network of a bundle; return the bundle with it.

    ``work`` is a folder for prepared pictures and the checkpoint of the training. An interrupted training resumes
    there if the same task is added again.

    Raises:
        SettingsError: the name is taken or invalid, or the bundle has no task whose training can be copied.
        DataError: the data cannot be used, or the memory does not suffice for pictures of the template's size.
        TrainingError: the training failed.
    """
    check_new_name(bundle, new.name)
    template = template_of(bundle, new.settings.kind, new.method)
    training, pictures = training_of(template, new)
    task = build_task(new.name, new.settings)
    translator = bundle.translator(template.name, device_for(training.accelerator))
    translator.check_memory(pictures.size, pictures.size, pictures.size, bundle.file.path)
    prepared = prepare_data(new, pictures, work / "prepared")
    task.use_training_data(prepared)

    start = bundle.load(template.name)
    key = key_of(bundle, new, training, pictures, prepared)
    plan = Plan(training, work / CHECKPOINT, key)
    components = learn(start, new, task, prepared, pictures, plan, on_epoch)
    tensors = {name: tensor.detach().cpu() for part in components for name, tensor in part.tensors.items()}
    stored, coded = encoded_bits(with_dtype(tensors, bundle.file.header.dtype))
    entry = task_entry(
        task,
        new.settings,
        size=pictures.size,
        method=new.method,
        method_settings=start.method.settings,
        coded=coded,
        components=component_sizes(components, stored),
        parts=[],
        origin=Origin(
            preset="",  # of no study
            seed=seed_of(new.name),
            commit="",
            data_sha256=prepared.sha256,
            encoder_sha256=template.origin.encoder_sha256,  # of the base network, which is the same
            tensors_sha256=content_sha256(tensors),
            settings={
                "training": training.model_dump(mode="json"),
                "pictures": pictures.model_dump(),
                HELD_OUT: VAL_SHARE,
            },
        ),
    ).model_copy(update={"base_sha256": template.base_sha256})
    device = device_for(training.accelerator)
    network = extended(bundle, entry, stored).network(new.name).to(device)
    measured = measure(Predictor(network, task.to(device)).predict, task, prepared, device, SHOWN)
    quality = quality_of("val", measured.images, measured.metrics)
    learned = extended(bundle, entry.model_copy(update={"quality": quality}), stored)
    return Added(learned, measured, sample_of(task, prepared, measured))


def learn(
    template: LoadedTask,
    new: NewTask,
    task: Task,
    prepared: Prepared,
    pictures: CropSettings,
    plan: Plan,
    on_epoch: EpochDone,
) -> list[Component]:
    """Train the method of the template on a task, from the base network; return the components for inference.

    Raises:
        TrainingError: the training failed.
    """
    training, seed = plan.training, seed_of(new.name)
    torch.manual_seed(seed)
    network = build_network(template.network, task.head_channels)
    load_into(network, template.base)
    method = method_class(new.method)(template.method.settings)
    groups = method.begin_task(Start(network, task, training))
    data = TaskData(task, prepared, pictures, training.batch_size, training.steps, seed)
    fabric = start_fabric(training)
    try:
        train(fabric, network, method, with_multipliers(groups, network, training), [data], plan, on_epoch)
    except TrainingError as error:
        reason = str(error).partition("; ")[0]  # the advice names a setting of the study
        raise TrainingError(f"{new.name}: {reason}; take larger batches with --batch-size") from error
    if training.compact:
        make_compact(network)
    components = stored_components(method, network, compact=training.compact)
    return [part for part in components if part.needed_to == "run"]


def training_of(template: TaskEntry, new: NewTask) -> tuple[TrainingSettings, CropSettings]:
    """Return the settings of the training and of the pictures: those of the template, with the new task's changes.

    Raises:
        StorageError: the settings of the template are of another version.
    """
    settings = template.origin.settings
    changes = {
        "steps": new.steps or settings.get("steps"),
        "batch_size": new.batch_size or settings.get("batch_size"),
    }
    fixed = {"threads": new.threads, "devices": 1, "accelerator": "auto", "precision": "auto"}
    values = {**settings.get("training", {}), **{k: v for k, v in changes.items() if v}, **fixed}
    try:
        return TrainingSettings.model_validate(values), CropSettings.model_validate(
            settings.get("pictures", {"size": template.size})
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise StorageError(
            f"task {template.name}: training settings of another version ({problem['loc'][0]}: {problem['msg']}); "
            "make the bundle again with `palimpsest bundle`"
        ) from error


def prepare_data(new: NewTask, pictures: CropSettings, folder: Path) -> Prepared:
    """Prepare the pictures of a new task in a folder; some are held out for validation if there is no such split.

    Raises:
        DataError: the data have no usable picture, too many broken ones, or none of a class.
        SettingsError: the data lack a category of the classes.
    """
    settings, reader = new.settings, new.reader
    train, val = settings.splits["train"], settings.splits["val"]
    splits: dict[str, tuple[str, int | None]] = {"train": (train, None), "val": (val, None)}
    if not has_split(reader, val):
        number = len(reader.records(train))
        if number < 2:
            raise DataError(
                f"{reader.title}: {number} pictures; a task needs at least two, one of them for validation"
            )
        splits = {"val": (train, max(1, round(VAL_SHARE * number))), "train": (train, None)}
    spec = sample_spec(settings, pictures.size, [source for source, _ in splits.values()], reader)
    prepared = prepare_user_data(reader, folder, splits, spec, settings.kind)
    if spec.classes is not None:
        check_classes(reader.title, prepared, spec.classes.names)
    return prepared


def check_classes(title: str, prepared: Prepared, names: Sequence[str]) -> None:
    """Check that each class, by label, has a pixel in the training pictures; ``title`` names the data set.

    Raises:
        DataError: a class has no pixel.
    """
    assert prepared.target is not None
    pixels = np.zeros(256, np.int64)
    for row in prepared.rows("train"):
        pixels += np.bincount(prepared.target[row].ravel(), minlength=256)
    missing = [name for label, name in enumerate(names) if label and not pixels[label]]
    if missing:
        present = [name for label, name in enumerate(names) if label and pixels[label]]
        advice = f"; or learn the others with --classes {','.join(present)}" if present else ""
        raise DataError(
            f"{title}: no pixel of the training pictures has the class {', '.join(map(repr, missing))}; add such "
            f"pictures, or correct the labels{advice}"
        )


def check_new_name(bundle: Bundle, name: str) -> None:
    """Check that a new task of a bundle may have a name.

    Raises:
        SettingsError: the bundle has such a task, or the name has other characters than letters, digits, hyphens.
    """
    if not NAME.fullmatch(name):
        raise SettingsError(f"{name!r} is no name of a task; {NAME_ADVICE}")
    if name in bundle.entries:
        raise SettingsError(f"{bundle.file.path}: has a task {name!r} already; choose another name")


def seed_of(name: str) -> int:
    """Return the seed of the training of a new task, which follows from its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def key_of(
    bundle: Bundle, new: NewTask, training: TrainingSettings, pictures: CropSettings, prepared: Prepared
) -> str:
    """Return a digest of all that decides the training, so that another one does not resume its checkpoint."""
    parts = [
        bundle.file.header.parts[BASE].sha256,
        new.method,
        new.settings.model_dump_json(),
        training.model_dump_json(),
        pictures.model_dump_json(),
        prepared.sha256,
        __version__,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def extended(bundle: Bundle, entry: TaskEntry, tensors: dict[str, torch.Tensor]) -> Bundle:
    """Return a bundle with one more task; all other parts and entries are the same."""
    parts = {**bundle.file.parts, f"{TASKS}{entry.name}": tensors}
    header = bundle.file.header.model_copy(
        update={
            "version": __version__,
            "parts": {**bundle.file.header.parts, **describe_parts({f"{TASKS}{entry.name}": tensors})},
            "tasks": [*bundle.file.header.tasks, entry],
        }
    )
    return Bundle(BundleFile(bundle.file.path, header, parts, header_sha256(header)))


def sample_of(task: Task, prepared: Prepared, measured: Measurement) -> Pixels:
    """Return validation pictures, their targets and the predictions side by side, one row per picture."""
    batch = next(evaluation_batches(prepared, "val", len(measured.samples)))
    pictures: Pixels = batch["picture"].permute(0, 2, 3, 1).numpy()
    columns = [[*pictures], [*task.to("cpu").paint_target(batch)], measured.samples]
    grid: Pixels = np.concatenate([np.concatenate(column) for column in columns], axis=1)
    return grid


def unchanged(before: Bundle, path: Path) -> list[str]:
    """Return the names of the tasks of a bundle whose outputs are bit-identical with the bundle in a file.

    Raises:
        StorageError: the output of a task differs.
    """
    after = open_bundle(path)
    for name in before.tasks:
        network = before.load(name).build()
        side = 2 * network.stride
        noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            if not torch.equal(network(noise), after.network(name)(noise)):
                raise StorageError(
                    f"{path}: the output of the task {name!r} differs from that of {before.file.path}"
                )
    return before.tasks
