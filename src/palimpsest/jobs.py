"""Settings of single jobs: the part of all settings that decides a job's output.

The pipeline reruns a job when these settings change. No other settings may reach the job's output.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import SerializeAsAny

from palimpsest.composition_settings import CompositionSettings
from palimpsest.data.formats import AnyDataset
from palimpsest.errors import check_name
from palimpsest.groups import BaseSettings, CropSettings, MeasuredSplit, TrainingOverrides, TrainingSettings
from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.methods import AUTOENCODER, BASE, BASES, METHODS, entry_of
from palimpsest.methods.settings import MethodSettings
from palimpsest.networks import AnyNetwork
from palimpsest.schema import SettingsGroup
from palimpsest.settings import FLOOR, Settings
from palimpsest.task_files import TaskFiles
from palimpsest.tasks import AnyTask
from palimpsest.tasks.reconstruction_settings import ReconstructionSettings
from palimpsest.tasks.settings import TaskSettings


class AdditionalPictures(SettingsGroup):
    """Splits of one data set whose pictures are added to the training pictures of a task."""

    dataset: AnyDataset
    splits: list[str]


class PreparationJob(SettingsGroup):
    """Settings that decide the prepared arrays of one task."""

    dataset: AnyDataset
    size: int
    broken_share: float
    dev_share: float = 0.0
    max_megapixels: float = MAX_MEGAPIXELS
    kind: str
    data: str
    splits: dict[Literal["train", "val"], str]
    additional_pictures: dict[str, AdditionalPictures]
    """Additional training pictures by the name of their data set."""
    images: dict[Literal["train", "val"], int]
    classes: dict[str, list[str]] | None = None
    """Categories by class, of targets that are labels."""
    others: Literal["background", "ignored"] | None = None
    scale: float = 1.0
    """Units per stored number, of targets that are values."""
    valid: tuple[float, float] | None = None
    """Smallest and largest valid value, in the unit; others are ignored."""


class TaskJob(SettingsGroup):
    """One task of a training."""

    name: str
    settings: AnyTask
    """Settings of the task without its overrides of the training, which the other fields and `TrainingJob.training`
    contain."""
    pictures: CropSettings
    batch_size: int
    steps: int


class TrainingJob(SettingsGroup):
    """Settings that decide one training: one method learns one task, or several together."""

    seed: int
    method: str
    method_settings: SerializeAsAny[MethodSettings] | None
    network: AnyNetwork
    base: BaseSettings | None
    """Settings of the base network, if this training makes it."""
    split: MeasuredSplit
    """Split on which the trained tasks are measured."""
    training: TrainingSettings
    """Settings of the training, with the overrides of the first task."""
    tasks: tuple[TaskJob, ...]

    @property
    def task_names(self) -> list[str]:
        """Names of the tasks, in the order of the sequence."""
        return [task.name for task in self.tasks]

    @property
    def encoder_weights(self) -> Path | None:
        """File of the network's initial weights, if this training starts with a new network."""
        return self.network.initial_weights if entry_of(self.method).starts_from == "nothing" else None

    def initial_weights(self) -> list[Path]:
        """Return the files of weights with which the network starts."""
        return [path for path in (self.base and self.base.encoder_weights, self.encoder_weights) if path]

    def parameters(self) -> dict[str, Any]:
        """Return the settings for a tracking server, with the tasks by their names."""
        values = self.model_dump(mode="json")
        return {**values, "tasks": {task.pop("name"): task for task in values["tasks"]}}

    def files(self) -> list[Path]:
        """Return the files named in the settings, each once, without prepared arrays and stored tasks."""
        return list(
            dict.fromkeys(
                [*self.initial_weights(), *(path for task in self.tasks for path in task.settings.files())]
            )
        )


class EvaluationJob(SettingsGroup):
    """Settings that decide the measurements of one method on all its tasks."""

    seed: int
    method: str
    method_settings: SerializeAsAny[MethodSettings] | None
    sequence: list[str]
    tasks: dict[str, AnyTask]
    split: MeasuredSplit
    """Split on which all tasks are measured."""
    threads: int
    accelerator: Literal["auto", "cpu", "cuda"]
    samples: int


class CompositionJob(EvaluationJob):
    """Settings that decide the composition of two tasks of one method; `sequence` lists the two tasks."""

    composition: CompositionSettings


def preparation_job(settings: Settings, task: str) -> PreparationJob:
    """Return the settings that decide the prepared arrays of a task."""
    task_settings = settings.tasks[check_name(task, settings.tasks, "task")]
    return PreparationJob(
        dataset=settings.datasets[task_settings.data],
        size=settings.pictures.size,
        broken_share=settings.pictures.broken_share,
        dev_share=settings.pictures.dev_share,
        max_megapixels=settings.pictures.max_megapixels,
        kind=task_settings.kind,
        data=task_settings.data,
        splits=task_settings.splits,
        additional_pictures={
            name: AdditionalPictures(dataset=settings.datasets[name], splits=splits)
            for name, splits in task_settings.additional_pictures.items()
        },
        images=task_settings.images,
        **task_settings.preparation(),
    )


def training_job(settings: Settings, seed: int, method: str, task: str) -> TrainingJob:
    """Return the settings that decide the training of a method on a task.

    The method ``base`` trains the base network, ``autoencoder`` its auto-encoder.
    """
    check_name(task, settings.sequence, "task")
    check_name(method, [*BASES, *METHODS], "method")
    names = TaskFiles(settings.layout, seed, method, settings.sequence).trained_with(task)
    overrides = {name: _overrides(settings, method, name) for name in names}
    return TrainingJob(
        seed=seed,
        method=method,
        method_settings=settings.method_settings.get(method),
        network=settings.network_of(method),
        base=settings.base if method == BASE else None,
        split=settings.measured_split(method),
        training=settings.training.model_copy(update=_of_training(overrides[names[0]])),
        tasks=tuple(_task_training(settings, method, name, overrides[name]) for name in names),
    )


def training_steps(settings: Settings, seed: int, method: str, task: str) -> int:
    """Return the steps of the training of a method on a task."""
    job = training_job(settings, seed, method, task)
    return next(trained.steps for trained in job.tasks if trained.name == task)


def _overrides(settings: Settings, method: str, task: str) -> dict[str, float]:
    overrides = settings.tasks[task].training.model_dump(exclude_none=True)
    of_methods = {
        "learning_rate": settings.learning_rates,
        "encoder_lr_multiplier": settings.encoder_lr_multipliers,
    }
    for key, by_method in of_methods.items():
        if method in by_method:
            overrides.setdefault(key, by_method[method])
    if method == AUTOENCODER:
        return overrides | settings.autoencoder.model_dump(exclude_none=True)
    entry = entry_of(method)
    makes_base = method == BASE or (entry.starts_from == "nothing" and entry.together)
    if makes_base and task == settings.base_task and settings.base.steps:
        overrides.setdefault("steps", settings.base.steps)
    if entry.adds_base_steps and task != settings.base_task:
        steps_of_base = _overrides(settings, BASE, settings.base_task)
        overrides["steps"] = sum(
            given.get("steps", settings.training.steps) for given in (overrides, steps_of_base)
        )
    return overrides


def _of_training(overrides: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in overrides.items() if key in TrainingSettings.model_fields}


def _task_training(settings: Settings, method: str, name: str, overrides: dict[str, float]) -> TaskJob:
    task_settings: TaskSettings = settings.tasks[name]
    if method == AUTOENCODER:
        task_settings = ReconstructionSettings(kind="reconstruction", data=task_settings.data)
    training = settings.training.model_copy(update=_of_training(overrides))
    crops = {key: value for key, value in overrides.items() if key in CropSettings.model_fields}
    return TaskJob(
        name=name,
        settings=without_training(task_settings),
        pictures=settings.pictures.crops.model_copy(update=crops),
        batch_size=training.batch_size,
        steps=training.steps,
    )


def without_training(task: TaskSettings) -> TaskSettings:
    """Return a task without its overrides of the training."""
    return task.model_copy(update={"training": TrainingOverrides()})


def evaluation_job(settings: Settings, seed: int, method: str) -> EvaluationJob:
    """Return the settings that decide the measurements of one method."""
    check_name(method, [FLOOR, *METHODS], "method")
    return EvaluationJob(
        seed=seed,
        method=method,
        method_settings=settings.method_settings.get(method),
        sequence=settings.sequence,
        tasks={name: without_training(settings.tasks[name]) for name in settings.sequence},
        split=settings.split,
        threads=settings.training.threads,
        accelerator=settings.training.accelerator,
        samples=settings.samples,
    )


def composition_job(settings: Settings, name: str) -> CompositionJob:
    """Return the settings that decide one composition, which uses the networks of the first seed."""
    composition = settings.composed[check_name(name, settings.composed, "composition")]
    job = evaluation_job(settings, settings.seeds[0], composition.method)
    pair = [composition.first, composition.second]
    tasks = {task: without_training(settings.tasks[task]) for task in pair}
    return CompositionJob(**{**dict(job), "sequence": pair, "tasks": tasks}, composition=composition)
