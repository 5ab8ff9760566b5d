"""Time and files of a few steps of real trainings on random arrays, measured in the processes that measure.

As many processes measure side by side as the run has jobs side by side, each with the threads of a job, so that
they share cores, caches and memory bandwidth as the jobs do.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from lightning_fabric import Fabric

from palimpsest import machine
from palimpsest.analysis.measurement import measure
from palimpsest.data.arrays import Array, Prepared
from palimpsest.data.targets import LABELS, Target
from palimpsest.devices import device_for, with_precision
from palimpsest.errors import PalimpsestError, user_message
from palimpsest.inference import Predictor
from palimpsest.jobs import TrainingJob, training_job
from palimpsest.methods.base import slower_backbone
from palimpsest.networks import build_network
from palimpsest.networks.perceptual import SQUEEZENET, VGG16
from palimpsest.planning.untrained import begun, store_untrained
from palimpsest.settings import Settings
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks import KINDS, build_task
from palimpsest.tasks.base import Batch
from palimpsest.tasks.settings import TaskSettings
from palimpsest.training.loop import Plan, TaskData, start_fabric, train, turns_of
from palimpsest.training.task_training import checkpoint_of, passes, seed_of

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
ARCHITECTURES = {"squeezenet": SQUEEZENET, "vgg16": VGG16}
"""Architecture of the weights that a run downloads; random weights take their place."""


@dataclass(frozen=True)
class Pictures:
    """Number of prepared pictures of a task by split."""

    train: int
    val: int


@dataclass(frozen=True)
class TrainingRequest:
    """Training to time, one of its group."""

    settings: Settings
    method: str
    task: str
    pictures: Mapping[str, Pictures]
    """Numbers of pictures by task."""

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"training of {self.method} on {self.task}"


@dataclass(frozen=True)
class TrainingTime:
    """Times of a training in seconds, and bytes of its files."""

    step: float
    """Time of one step."""
    epoch: float
    """Time of the checkpoint after an epoch."""
    rest: float
    """Time before the first and after the last step, without the start of the process."""
    stored: int
    """Bytes of the stored tasks."""
    checkpoint: int
    """Bytes of the checkpoint, which is deleted after the training."""


@dataclass(frozen=True)
class MeasurementRequest:
    """Measurement of a trained task to time, one of its group."""

    job: TrainingJob
    task: str
    pictures: Pictures

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"measurement of {self.task}"


@dataclass(frozen=True)
class MeasurementTime:
    """Time to measure all validation pictures of a task, in seconds."""

    plain: float
    """Without standard errors, as after a training."""
    with_errors: float
    """With standard errors, as in an evaluation."""


Request = TrainingRequest | MeasurementRequest
Timed = TrainingTime | MeasurementTime

_started = 0.0
"""Seconds in which this process started and imported what a training imports."""


@contextmanager
def job_environment(threads: int) -> Iterator[None]:
    """Set the environment in which Snakemake starts a job with this number of threads."""
    values = {**machine.KEEP_MEMORY, **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def interruptions_ignored() -> Iterator[None]:
    """Ignore Ctrl-C in a block, and in the processes that it starts: the first process ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start_process() -> None:
    """Import what a training imports, and note how long the process took to start."""
    global _started  # noqa: PLW0603 (one value per process)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), sys.stderr.fileno())  # notes of libraries, once per training
    sys.path.insert(0, "")  # `pipeline` is in the working directory, as for `python -m pipeline.train`
    importlib.import_module("pipeline.train")
    _started = time.time() - psutil.Process().create_time()


def timed(request: Request, folder: Path) -> tuple[Timed, float]:
    """Return the times for a request, and the seconds in which this process started; files are below ``folder``."""
    with tempfile.TemporaryDirectory(dir=folder) as files:
        if isinstance(request, TrainingRequest):
            return time_training(request, Path(files)), _started
        return time_measurement(request, Path(files)), _started


def time_all(
    requests: Mapping[str, Request], processes: int, threads: int, on_done: Callable[[], None] = lambda: None
) -> tuple[dict[str, Timed], float]:
    """Return the times for each request, by its key, and the mean seconds of a process's start.

    Raises:
        PalimpsestError: a training cannot be measured, as without enough memory.
    """
    results: dict[str, Timed] = {}
    starts: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="palimpsest-plan-", ignore_cleanup_errors=True) as folder,
        job_environment(threads),
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), start_process) as pool,
    ):
        with interruptions_ignored():  # by the processes, which start now
            futures: dict[Future[tuple[Timed, float]], str] = {
                pool.submit(timed, request, Path(folder)): key for key, request in requests.items()
            }
        try:
            for future in as_completed(futures):
                results[futures[future]], start = result_of(future, requests[futures[future]])
                starts.append(start)
                on_done()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
                child.join()
            raise
    return results, sum(starts) / len(starts)


def result_of(future: Future[tuple[Timed, float]], request: Request) -> tuple[Timed, float]:
    """Return the result of a request.

    Raises:
        PalimpsestError: the process ended, or the training failed.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise PalimpsestError(
            f"{request.name}: the measuring process ended, as it does without enough memory; lower --cores"
        ) from error
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        raise PalimpsestError(f"{request.name}: {message}") from error


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
    groups = slower_backbone(method.begin_task(start), network, job.training.encoder_lr_multiplier)
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
    stored_bytes = 0
    for name in job.task_names:
        method.set_active_task(network, name)
        stored_bytes += sum(t.nbytes for part in method.store(network) for t in part.tensors.values())
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
