"""Stored tasks without training, as starting points of trainings whose speed is measured."""

from collections.abc import Callable, Iterator

import torch

from palimpsest.data.arrays import Prepared
from palimpsest.jobs import TrainingJob, training_job
from palimpsest.methods import method_class
from palimpsest.methods.base import Method, Start
from palimpsest.methods.compact import make_compact, stored_components
from palimpsest.networks.base import Network
from palimpsest.settings import Settings
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import save_task
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Batch, Task
from palimpsest.training.task_training import (
    earlier,
    provenance,
    seed_of,
    starting_network,
    stored_compactly,
)

Batches = Callable[[], Iterator[Batch]]
"""Function that returns an iterator over training batches."""


def begun(
    job: TrainingJob, stored: StoredTasks, tasks: list[Task], batches: Batches
) -> tuple[Network, Method, Start]:
    """Return network, method and start of a training; `Method.begin_task` is the next call."""
    torch.manual_seed(seed_of(job, tasks[0].name))
    before = stored.task_files.earlier_tasks(tasks[0].name)
    network = starting_network(job, stored, before, tasks[0])
    earlier_tasks = tuple(earlier(job, stored, before))
    start = Start(network, tasks[0], job.training, earlier_tasks, batches=batches, together=tasks)
    return network, method_class(job.method)(job.method_settings), start


def store_untrained(
    settings: Settings, seed: int, method: str, task: str, arrays: Prepared, batches: Batches
) -> None:
    """Store a task of a method without training; the tasks that it starts from must have been stored before.

    ``arrays`` provide the digest of the data, ``batches`` the pictures with which the method completes a training
    (`Method.after_training`).
    """
    stored = StoredTasks.of(settings, seed, method)
    job = training_job(settings, seed, method, task)
    tasks = [build_task(trained.name, trained.settings) for trained in job.tasks]
    network, learner, start = begun(job, stored, tasks, batches)
    learner.begin_task(start)
    learner.after_step(network, 1.0)
    learner.after_training(network)
    if stored_compactly(job):
        make_compact(network)
    for name in job.task_names:
        learner.set_active_task(network, name)
        origin = provenance(job, name, stored, arrays, {})
        components = stored_components(learner, network, compact=stored_compactly(job))
        save_task(settings.layout.stored(seed, method, name), components, origin)
