"""Arrays, weights and stored tasks in place of those that a run has yet to make, for trainings that are timed."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from palimpsest.data.arrays import Array, Prepared
from palimpsest.data.targets import LABELS, Target
from palimpsest.devices import with_precision
from palimpsest.jobs import training_job
from palimpsest.networks.perceptual import SQUEEZENET, VGG16
from palimpsest.planning.requests import Pictures
from palimpsest.planning.untrained import store_untrained
from palimpsest.settings import Settings
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks import KINDS, build_task
from palimpsest.tasks.base import Batch
from palimpsest.tasks.settings import TaskSettings
from palimpsest.training.task_training import passes

ARCHITECTURES = {"squeezenet": SQUEEZENET, "vgg16": VGG16}
"""Architecture of the weights that a run downloads; random weights take their place."""


def stand_alone(settings: Settings, folder: Path) -> Settings:
    """Return the settings of a measurement outside the study's folder, on one device and without downloads.

    Paths of the user's files become absolute. Random weights, in ``folder``, replace those that a run downloads,
    and the initial weights of the network.
    """
    training = settings.training
    batch_size = max(1, training.batch_size // training.devices)
    return settings.model_copy(
        update={
            "tasks": {name: without_downloads(settings.tasks[name], folder) for name in settings.sequence},
            "training": with_precision(training.model_copy(update={"devices": 1, "batch_size": batch_size})),
            "network": settings.network.for_inference(),
            "base": settings.base.model_copy(update={"encoder_weights": None}),
        }
    )


def without_downloads(task: TaskSettings, folder: Path) -> TaskSettings:
    """Return a task with absolute paths of its files, and random weights, in ``folder``, for those to download."""
    files = {key: path.absolute() for key, path in task.users_files().items()}
    for key, path in files.items():
        if not path.exists() and path.stem in ARCHITECTURES:
            files[key] = folder.absolute() / path.name
            save_random_weights(files[key])
    return task.model_copy(update=files)


def save_random_weights(path: Path) -> None:
    """Write random weights of the perceptual network that the name of a file names."""
    layers = ARCHITECTURES[path.stem].build()
    torch.save({f"features.{name}": tensor for name, tensor in layers.state_dict().items()}, path)


def store_start(settings: Settings, path: Path, prepared: Mapping[str, Prepared]) -> None:
    """Store an untrained task as the file ``path``, after those that it starts from, unless it exists."""
    if path.exists():
        return
    method, task, seed = path.parent.name, path.stem, settings.seeds[0]
    for earlier in StoredTasks.of(settings, seed, method).task_files.starting_files(task):
        store_start(settings, earlier, prepared)
    job = training_job(settings, seed, method, task)

    def one_picture() -> Iterator[Batch]:
        batch = next(passes(job, job.tasks[0], prepared[task]))
        yield {name: tensor[:1] for name, tensor in batch.items()}

    store_untrained(settings, seed, method, task, prepared[task], one_picture)


def random_arrays(name: str, settings: TaskSettings, side: int, pictures: Pictures) -> Prepared:
    """Return arrays like the prepared ones of a task, with one random picture and target for all rows."""
    random = np.random.default_rng(0)
    rows, kind = pictures.train + pictures.val, KINDS[settings.kind].target
    classes = build_task(name, settings).classes or []
    picture = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    target = None if kind is None else random_target(random, kind, side, len(classes))
    shares = {"classes": dict.fromkeys(classes, 1 / max(1, len(classes))), "ignored": 0.0}
    return Prepared(
        np.broadcast_to(picture, (rows, *picture.shape)),
        None if target is None else np.broadcast_to(target, (rows, *target.shape)),
        ("random",) * rows,
        ("train",) * pictures.train + ("val",) * pictures.val,
        {"labels": {"train": shares}},
    )


def random_target(random: np.random.Generator, target: Target, side: int, classes: int) -> Array:
    """Return a random target of a type, with labels below ``classes``."""
    shape = target.shape(side)
    if target.dtype == "float32":
        return random.uniform(1, 2, shape).astype(np.float32)
    return random.integers(0, classes if target is LABELS else 256, shape, dtype=np.uint8)
