"""Trainings and measurements of equal cost: each group is timed once."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from palimpsest.jobs import TaskJob, TrainingJob, training_job
from palimpsest.methods import entry_of
from palimpsest.settings import Settings
from palimpsest.task_files import TaskFiles
from palimpsest.tasks.settings import TaskSettings

Key = str
"""Identity of a group, the same for trainings or measurements of equal cost."""
WITHOUT_COST = {"data", "splits", "additional_pictures", "images", "training"}
"""Settings of a task that no step depends on."""


def training_key(settings: Settings, job: TrainingJob) -> Key:
    """Return the key of a training: all that a step's time depends on, without seed, names, and learning rates."""
    files = TaskFiles(settings.layout, job.seed, job.method, settings.sequence)
    earlier = files.earlier_tasks(job.task_names[0]) if entry_of(job.method).starts_from == "previous" else []
    before = [task_cost(settings.tasks[name]) for name in earlier]
    training = costs(job.training, without={"steps", "steps_per_epoch", "learning_rate", "lr_multiplier"})
    return key_of(
        [job.method, costs(job.method_settings), costs(job.network), training, before]
        + [[costs(task, without={"name", "settings", "steps"}), task_cost(task.settings)] for task in job.tasks]
    )


def measurement_key(job: TrainingJob, task: TaskJob) -> Key:
    """Return the key of the measurement of a trained task."""
    return key_of([costs(job.network), task_cost(task.settings), task.pictures.size])


def task_cost(task: TaskSettings) -> Mapping[str, Any]:
    """Return the settings of a task that the time of a step depends on."""
    return costs(task, without={*WITHOUT_COST, *task.users_files()})


def costs(group: BaseModel | None, without: Iterable[str] = ()) -> Mapping[str, Any]:
    """Return settings as JSON values that are equal if steps take equally long.

    Files are left out. Of a fraction, weight or rate only the special values 0 and 1 matter, which can switch a
    part of the loss off, and of a list or mapping, such as classes, only the length.
    """
    if group is None:
        return {}
    return {name: of_value(value) for name, value in group if name not in without and not isinstance(value, Path)}


def of_value(value: Any) -> Any:
    """Return the part of a setting's value that the time of a step depends on."""
    if isinstance(value, BaseModel):
        return costs(value)
    if isinstance(value, float) and value not in (0.0, 1.0):
        return "fraction"
    return len(value) if isinstance(value, Mapping | list | tuple) else value


def key_of(parts: list[Any]) -> Key:
    """Return parts as one key."""
    return json.dumps(parts, sort_keys=True, default=str)


def job_of(settings: Settings, wildcards: Mapping[str, str]) -> TrainingJob:
    """Return the settings of a training from the wildcards of its rule; without a task, it learns all of them."""
    return training_job(
        settings, int(wildcards["seed"]), wildcards["method"], wildcards.get("task", settings.base_task)
    )
