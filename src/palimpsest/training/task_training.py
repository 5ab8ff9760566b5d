"""Training of a method on a task: load the stored tasks it starts from, train, measure, and store the task."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from palimpsest.analysis.measurement import Measurement, measure, metrics_line
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import TrainingBatches
from palimpsest.data.pictures import Pixels
from palimpsest.devices import measuring_conditions, precision_for
from palimpsest.errors import SettingsError
from palimpsest.inference import Predictor
from palimpsest.jobs import TaskJob, TrainingJob
from palimpsest.methods import entry_of, method_class
from palimpsest.methods.base import EarlierTask, Method, Start, load_into, with_multipliers
from palimpsest.methods.compact import make_compact, stored_components
from palimpsest.networks import build_network
from palimpsest.networks.base import Network
from palimpsest.networks.pretrained import load_encoder
from palimpsest.networks.standardised import standardise
from palimpsest.provenance import code_version
from palimpsest.storage.prediction_record import PredictionRecord, save_record
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import Provenance, save_task
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Batch, Task
from palimpsest.training.loop import SPEED, EpochDone, Plan, TaskData, train
from palimpsest.training.sample import SamplePainter

log = logging.getLogger(__name__)


def learn(
    fabric: Fabric,
    job: TrainingJob,
    stored: StoredTasks,
    prepared: Mapping[str, Prepared],
    key: str,
    on_epoch: EpochDone = lambda history: None,
    on_sample: Callable[[Pixels], None] | None = None,
) -> list[Path]:
    """Train the method of a job on its tasks, store a file for each task, and return the files.

    With several devices each runs this function, and only the first writes. The last checkpoint, at `checkpoint_of`
    the first file, remains for the caller to delete. The prediction record beside each file is measured with the
    network in memory, before anything is stored. After each epoch ``on_sample`` is called with predictions for the
    first task.
    """
    first = job.tasks[0]
    before = stored.task_files.earlier_tasks(first.name)
    task_data = [task_data_of(job, task_job, prepared[task_job.name]) for task_job in job.tasks]
    tasks = [data.task for data in task_data]
    torch.manual_seed(seed_of(job, first.name))
    network = starting_network(job, stored, before, tasks[0])
    method = method_class(job.method)(job.method_settings)
    targets = [stored.layout.stored(job.seed, job.method, name) for name in job.task_names]
    plan = Plan(job.training, checkpoint_of(targets[0]), key)
    start = Start(
        network,
        tasks[0],
        job.training,
        earlier=tuple(earlier(job, stored, before)),
        batches=lambda: passes(job, first, prepared[first.name]),
        together=tasks,
    )
    groups = with_multipliers(method.begin_task(start), network, job.training)
    history: list[dict[str, float]] = []
    if groups:
        if on_sample is not None and fabric.is_global_zero:
            painter = SamplePainter(job.network, tasks[0], prepared[first.name], job.split, fabric.device)
            on_epoch = with_samples(on_epoch, on_sample, painter, method, network)
        history = train(fabric, network, method, groups, task_data, plan, on_epoch)
    else:  # no parameters to train, as for a method that only inspects the base network
        network.to(fabric.device)
        tasks[0].to(fabric.device)
        method.after_training(network)
    if stored_compactly(job):
        make_compact(network)
    losses = losses_of(history) if len(tasks) == 1 else []  # otherwise they are means over tasks
    if fabric.is_global_zero:
        for task_job, target in zip(job.tasks, targets, strict=True):
            method.set_active_task(network, task_job.name)
            arrays = prepared[task_job.name]
            store_and_record(method, network, job, task_job, stored, arrays, target, fabric.device, losses)
    fabric.barrier()
    return targets


def with_samples(
    on_epoch: EpochDone,
    on_sample: Callable[[Pixels], None],
    painter: SamplePainter,
    method: Method,
    network: nn.Module,
) -> EpochDone:
    """Return a function that calls ``on_epoch``, then ``on_sample`` with predictions of the network."""

    def after_epoch(history: Sequence[dict[str, float]]) -> None:
        on_epoch(history)
        method.set_active_task(network, painter.predictor.task.name)
        sample = painter.paint(method, network)
        if sample is not None:
            on_sample(sample)

    return after_epoch


def stored_compactly(job: TrainingJob) -> bool:
    """Return whether the tasks of a training are stored as `palimpsest.methods.compact` does.

    Tasks from which others start are not.
    """
    entry = entry_of(job.method)
    return job.training.compact and entry.adds_to_base and not entry.learns_base_task


def losses_of(history: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return the history of a training without its speed, which differs between runs."""
    return [{name: entry[name] for name in entry if name != SPEED} for entry in history]


def store_and_record(
    method: Method,
    network: nn.Module,
    job: TrainingJob,
    task_job: TaskJob,
    stored: StoredTasks,
    arrays: Prepared,
    target: Path,
    device: torch.device,
    losses: Sequence[Mapping[str, float]],
) -> None:
    """Measure a task right after its training, then write its file and its prediction record.

    ``losses`` are those of the training (`PredictionRecord.losses`).
    """
    measured = measure_trained(method, network, job, task_job, arrays, device)
    record_path = stored.layout.prediction_record(job.seed, job.method, task_job.name)
    record_path.unlink(missing_ok=True)  # an older record must not remain beside the new task after a kill
    origin = provenance(job, task_job.name, stored, arrays, method.diagnostics(network))
    sha256 = save_task(target, stored_components(method, network, compact=stored_compactly(job)), origin)
    record = PredictionRecord(
        method=job.method,
        task=task_job.name,
        seed=job.seed,
        checksum=measured.checksum,
        images=measured.images,
        metrics=measured.metrics,
        file_sha256=sha256,
        data_sha256=arrays.sha256,
        trained_in=precision_for(job.training),
        conditions=measuring_conditions(device),
        split=job.split,
        losses=losses,
    )
    save_record(record_path, record)


def measure_trained(
    method: Method,
    network: nn.Module,
    job: TrainingJob,
    task_job: TaskJob,
    prepared: Prepared,
    device: torch.device,
) -> Measurement:
    """Measure a trained network on the split of the job, without changing it.

    The measurement uses a plain network, as after loading, because memory formats and parametrizations can change
    the last bits of a prediction.
    """
    task = build_task(task_job.name, task_job.settings)
    plain = build_network(job.network, task.head_channels)
    load_into(plain, method.plain_state(network))
    predictor = Predictor(plain.to(device).eval(), task)
    measured = measure(predictor.predict, task, prepared, device, 0, job.split, with_errors=False)
    log.info("%s learned: %s", task_job.name, metrics_line(measured.metrics))
    return measured


def task_data_of(job: TrainingJob, task_job: TaskJob, prepared: Prepared) -> TaskData:
    """Return a task with its prepared data and number of steps."""
    task = build_task(task_job.name, task_job.settings)
    task.use_training_data(prepared)
    return TaskData(
        task, prepared, task_job.pictures, task_job.batch_size, task_job.steps, seed_of(job, task_job.name)
    )


def provenance(
    job: TrainingJob, task: str, stored: StoredTasks, prepared: Prepared, diagnostics: Mapping[str, float]
) -> Provenance:
    """Return the header of one task's file."""
    entry = entry_of(job.method)
    start = None if entry.starts_from == "nothing" else stored.base.open(stored.sequence[0])
    base = start if entry.adds_to_base else None
    folder = stored.layout.stored(job.seed, job.method, task).parent
    return Provenance(
        preset=stored.layout.scope,
        seed=job.seed,
        method=job.method,
        task=task,
        settings=job.model_dump(mode="json"),
        network_sha256=base.sha256 if base else None,
        base_file=Path(os.path.relpath(base.path, folder)).as_posix() if base else "",
        commit=code_version(),
        data_sha256=prepared.sha256,
        encoder_sha256=start.provenance.encoder_sha256 if start else weights_sha256(job.encoder_weights),
        diagnostics=diagnostics,
    )


def weights_sha256(path: Path | None) -> str:
    """Return the SHA-256 of a file of initial weights; '' without a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


def checkpoint_of(stored: Path) -> Path:
    """Return the path of the checkpoint for the training of a stored task."""
    return stored.with_suffix(".resume")


def starting_network(job: TrainingJob, stored: StoredTasks, before: Sequence[str], task: Task) -> Network:
    """Build the network that a method starts from: a new one, the base network, or that of the previous task.

    The previous task is the last of ``before``, the earlier tasks. The head is new, unless the loaded network was
    trained on ``task`` itself.
    """
    starts_from = entry_of(job.method).starts_from
    if starts_from == "nothing":
        network = build_network(job.network, task.head_channels)
        check_sides(job, network)
        if job.encoder_weights is not None:
            network.load_initial(job.encoder_weights)
        if job.base is not None and job.base.encoder_weights is not None:
            load_encoder(network, job.base.encoder_weights)
        if job.base is not None and job.base.standardised:
            standardise(network)
        return network
    previous = starts_from == "previous" and before
    start = stored.open(before[-1]) if previous else stored.base.open(stored.sequence[0])
    old = start.load().build()
    network = build_network(job.network, task.head_channels)
    keep_head = start.task_settings == job.tasks[0].settings
    network.load_state_dict(
        {key: tensor for key, tensor in old.state_dict().items() if keep_head or not key.startswith("head.")},
        strict=False,
    )
    return network.eval()


def check_sides(job: TrainingJob, network: Network) -> None:
    """Check that pictures and crops have sides that the network can halve to its coarsest features.

    Raises:
        SettingsError: a side is no multiple of the network's stride.
    """
    for key in ("size", "crop"):
        side = getattr(job.tasks[0].pictures, key)
        if side % network.stride:
            raise SettingsError(
                f"pictures.{key}: {side} is no multiple of {network.stride}, the stride of the network; set it to "
                f"{round(side / network.stride) * network.stride}"
            )


def earlier(job: TrainingJob, stored: StoredTasks, before: Sequence[str]) -> Iterator[EarlierTask]:
    """Yield the earlier tasks for a method that starts from the previous task, otherwise none."""
    if entry_of(job.method).starts_from == "previous":
        for name in before:
            file = stored.open(name)
            yield EarlierTask(build_task(name, file.task_settings), file.components)


def passes(job: TrainingJob, task_job: TaskJob, prepared: Prepared) -> Iterator[Batch]:
    """Yield the training batches of a task from the first step on."""
    seed = seed_of(job, task_job.name)
    batches = TrainingBatches(prepared, task_job.pictures, task_job.batch_size, task_job.steps, seed)
    for step in range(task_job.steps):
        yield batches[step]


def seed_of(job: TrainingJob, task: str) -> int:
    """Return the seed of a training; it depends only on seed and task, so that all methods get the same batches."""
    digest = hashlib.sha256(f"{job.seed}/{task}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
