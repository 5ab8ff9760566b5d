"""Time and files of a few steps of real trainings on random arrays."""

import time
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from palimpsest.analysis.measurement import measure
from palimpsest.data.arrays import Prepared
from palimpsest.devices import device_for, with_precision
from palimpsest.inference import Predictor
from palimpsest.jobs import TrainingJob, training_job
from palimpsest.methods.base import with_multipliers
from palimpsest.methods.compact import make_compact, stored_components
from palimpsest.networks import build_network
from palimpsest.planning.requests import (
    MeasurementRequest,
    MeasurementTime,
    Pictures,
    TrainingRequest,
    TrainingTime,
)
from palimpsest.planning.stand_ins import random_arrays, stand_alone, store_start, without_downloads
from palimpsest.planning.untrained import begun
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks import build_task
from palimpsest.training.loop import Plan, TaskData, start_fabric, train, turns_of
from palimpsest.training.task_training import checkpoint_of, passes, seed_of, stored_compactly

PROBE = 2
"""Steps of a first training, which warms up; if they are slow, they are the measurement."""
BUDGET = 3.0
"""Seconds of measured steps per group."""
FEWEST, MOST = 4, 12
"""Measured steps per group, within `BUDGET` if possible."""
MEASURED_PICTURES = 32
"""Largest number of pictures from which the time of a measurement is computed."""
SAMPLES = 6
"""Predictions of a measurement that are painted."""


def time_training(request: TrainingRequest, folder: Path) -> TrainingTime:
    """Return the times of a training, which starts from untrained tasks; ``folder`` takes its files."""
    settings = stand_alone(request.settings, folder)
    with chdir(folder):
        seed = settings.seeds[0]
        job = training_job(settings, seed, request.method, request.task)
        job = job.model_copy(update={"training": with_precision(job.training)})
        stored = StoredTasks.of(settings, seed, request.method)
        prepared = {
            name: random_arrays(name, settings.tasks[name], settings.pictures.size, request.pictures[name])
            for name in settings.sequence
        }
        for path in stored.task_files.starting_files(request.task):
            store_start(settings, path, prepared)
        fabric = start_fabric(job.training)
        probe = run_steps(fabric, job, stored, prepared, PROBE, steps_per_epoch=1)
        if not probe.epochs or sum(probe.epochs) > BUDGET:
            return probe.time(probe.checkpoint)
        steps = min(MOST, max(FEWEST, round(BUDGET / probe.epochs[-1])))
        run = run_steps(fabric, job, stored, prepared, steps, steps_per_epoch=steps)
        return run.time(probe.checkpoint)


def time_measurement(request: MeasurementRequest, folder: Path) -> MeasurementTime:
    """Return the times to measure a task with a network of random weights; ``folder`` takes its files."""
    job = request.job
    settings = next(task for task in job.tasks if task.name == request.task)
    torch.set_num_threads(job.training.threads)
    device = device_for(job.training.accelerator)
    task = build_task(request.task, without_downloads(settings.settings, folder))
    network = build_network(job.network.for_inference(), task.head_channels)
    predictor = Predictor(network.to(device).eval(), task)

    def seconds(pictures: int, with_errors: bool) -> float:
        arrays = random_arrays(request.task, settings.settings, settings.pictures.size, Pictures(1, pictures))
        started = time.perf_counter()
        measure(predictor.predict, task, arrays, device, SAMPLES, with_errors=with_errors)
        return time.perf_counter() - started

    seconds(1, with_errors=False)
    number = min(request.pictures.val, MEASURED_PICTURES)
    factor = request.pictures.val / number
    return MeasurementTime(factor * seconds(number, with_errors=False), factor * seconds(number, with_errors=True))


@dataclass(frozen=True)
class Run:
    """Times of a short training in seconds, and bytes of its files."""

    steps: int
    epochs: Sequence[float]
    """Time of the steps of each epoch, without its checkpoint."""
    total: float
    """Time of the training, from the construction of the network to the tensors to store."""
    checkpoint: float
    """Mean time of a checkpoint between two epochs; 0 for a single epoch."""
    stored_bytes: int
    checkpoint_bytes: int

    def time(self, checkpoint: float) -> TrainingTime:
        """Return the times of the training; ``checkpoint`` is the time of one checkpoint."""
        rest = self.total - sum(self.epochs) - checkpoint * len(self.epochs)
        step = sum(self.epochs) / self.steps
        return TrainingTime(step, checkpoint, max(0.0, rest), self.stored_bytes, self.checkpoint_bytes)


def run_steps(
    fabric: Fabric,
    job: TrainingJob,
    stored: StoredTasks,
    prepared: Mapping[str, Prepared],
    steps: int,
    steps_per_epoch: int,
) -> Run:
    """Train so many steps, those of several tasks together.

    The calls are those of `task_training.learn`, without measurement and files of the stored tasks.
    """
    started = time.perf_counter()
    tasks = [build_task(task.name, task.settings) for task in job.tasks]
    data = []
    for task, settings in zip(tasks, job.tasks, strict=True):
        arrays, share = prepared[task.name], -(-steps // len(tasks))
        task.use_training_data(arrays)
        data.append(TaskData(task, arrays, settings.pictures, settings.batch_size, share, seed_of(job, task.name)))
    first = job.tasks[0]
    network, method, start = begun(job, stored, tasks, lambda: passes(job, first, prepared[first.name]))
    groups = with_multipliers(method.begin_task(start), network, job.training)
    path = checkpoint_of(stored.layout.stored(job.seed, job.method, first.name))
    training = job.training.model_copy(update={"steps_per_epoch": steps_per_epoch})
    history: list[dict[str, float]] = []
    ends: list[float] = []

    def after_epoch(entries: Sequence[dict[str, float]]) -> None:
        history[:] = entries
        ends.append(time.perf_counter())

    if groups:
        train(fabric, network, method, groups, data, Plan(training, path, "plan"), after_epoch)
    else:
        network.to(fabric.device)
        tasks[0].to(fabric.device)
        method.after_training(network)
    if stored_compactly(job):
        make_compact(network)
    stored_bytes = 0
    for name in job.task_names:
        method.set_active_task(network, name)
        components = stored_components(method, network, compact=stored_compactly(job))
        stored_bytes += sum(tensor.nbytes for part in components for tensor in part.tensors.values())
    total = time.perf_counter() - started
    images = [data[turn].batch_size for turn in turns_of([one.steps for one in data])]
    bounds = [0, *(int(entry["step"]) for entry in history)]
    epochs = [
        sum(images[begin:end]) / entry["images_per_second"]
        for begin, end, entry in zip(bounds, bounds[1:], history, strict=False)
    ]
    gaps = len(ends) - 1
    checkpoint = max(0.0, ends[-1] - ends[0] - sum(epochs[1:])) / gaps if gaps > 0 else 0.0
    size = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    return Run(len(images), epochs, total, checkpoint, stored_bytes, size)
