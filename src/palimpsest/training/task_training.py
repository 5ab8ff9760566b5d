"""One training: a method takes on a task, from the stored tasks it starts from to the stored task it leaves."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from palimpsest.analysis.measurement import Measurement, Predictor, headline, measure
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import TrainingBatches
from palimpsest.devices import measuring_conditions, precision_for
from palimpsest.methods import build_method, entry_of
from palimpsest.methods.base import EarlierTask, Method, Start, load_into
from palimpsest.networks import build_network
from palimpsest.networks.pretrained import load_encoder
from palimpsest.networks.standardised import standardise
from palimpsest.provenance import code_version
from palimpsest.settings import AnyTask, TrainingJob
from palimpsest.storage.prediction_record import PredictionRecord, save_record
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import Provenance, save_task
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Batch, Task
from palimpsest.training.loop import EpochDone, Plan, TaskData, train

log = logging.getLogger(__name__)


def learn(
    fabric: Fabric,
    jobs: Sequence[TrainingJob],
    stored: StoredTasks,
    earlier_tasks: dict[str, AnyTask],
    prepared: Mapping[str, Prepared],
    key: str,
    on_epoch: EpochDone = lambda history: None,
) -> list[Path]:
    """Train one method on one task, or on several at once, and store what it leaves; returns the files.

    With several devices each runs this function, and the first alone writes. The checkpoint of the last step
    stays, as `checkpoint_of` the first file, until the caller has recorded the training. Beside each file lies the
    record of the task's predictions, computed by the trained network before anything was stored.
    """
    first = jobs[0]
    task_data = [task_data_of(job, prepared[job.task_name]) for job in jobs]
    tasks = [data.task for data in task_data]
    torch.manual_seed(seed_of(first))
    network = starting_network(first, stored, list(earlier_tasks), tasks[0])
    method = build_method(first.method, first.method_settings)
    targets = [stored.layout.stored(job.seed, job.method, job.task_name) for job in jobs]
    plan = Plan(first.training, checkpoint_of(targets[0]), key)
    groups = method.begin_task(
        Start(
            network,
            tasks[0],
            first.training,
            earlier=tuple(earlier(first, stored, earlier_tasks)),
            batches=lambda: passes(first, prepared[first.task_name]),
            together=tasks,
        )
    )
    if groups:
        train(fabric, network, method, groups, task_data, plan, on_epoch)
    else:  # nothing to learn, as where a method only looks at what the base network has learned
        network.to(fabric.device)
        tasks[0].to(fabric.device)
        method.after_training(network)
    if fabric.is_global_zero:
        for job, target in zip(jobs, targets, strict=True):
            method.set_active_task(network, job.task_name)
            arrays = prepared[job.task_name]
            measured = measure_trained(method, network, job, arrays, fabric.device)
            record_path = stored.layout.prediction_record(job.seed, job.method, job.task_name)
            record_path.unlink(missing_ok=True)  # of an earlier training: a kill must not leave it beside this task
            sha256 = save_task(
                target,
                method.store(network),
                provenance(job, stored, arrays, method.diagnostics(network)),
            )
            record = PredictionRecord(
                method=job.method,
                task=job.task_name,
                seed=job.seed,
                checksum=measured.checksum,
                images=measured.images,
                metrics=measured.metrics,
                file_sha256=sha256,
                data_sha256=arrays.sha256,
                trained_in=precision_for(job.training),
                conditions=measuring_conditions(fabric.device),
            )
            save_record(record_path, record)
    fabric.barrier()
    return targets


def measure_trained(
    method: Method, network: nn.Module, job: TrainingJob, prepared: Prepared, device: torch.device
) -> Measurement:
    """Measure what a trained network has learned, on the validation split, without changing the network.

    A plain network runs the task, as it will when the task is loaded: the layout of weights in memory and the
    modules around them can change the last bits of a prediction.
    """
    task = build_task(job.task_name, job.task)
    plain = build_network(job.network, task.head_channels)
    load_into(plain, method.plain_state(network))
    measured = measure(Predictor(plain.to(device).eval(), task), task, prepared, device, samples=0)
    log.info("%s learned: %s", job.task_name, headline(measured.metrics))
    return measured


def task_data_of(job: TrainingJob, prepared: Prepared) -> TaskData:
    """What a training is about."""
    task, training = build_task(job.task_name, job.task), job.training
    return TaskData(task, prepared, job.pictures, training.batch_size, training.steps, seed_of(job))


def provenance(
    job: TrainingJob, stored: StoredTasks, prepared: Prepared, diagnostics: Mapping[str, float]
) -> Provenance:
    """What the file of a training says of where it comes from."""
    adds_to_base = entry_of(job.method).adds_to_base
    return Provenance(
        preset=stored.layout.scope,
        seed=job.seed,
        method=job.method,
        task=job.task_name,
        settings=job.model_dump(mode="json"),
        network_sha256=stored.base.file(stored.sequence[0]).sha256 if adds_to_base else None,
        commit=code_version(),
        data_sha256=prepared.sha256,
        diagnostics=diagnostics,
    )


def checkpoint_of(stored: Path) -> Path:
    """The file from which the training of a stored task goes on."""
    return stored.with_suffix(".resume")


def starting_network(job: TrainingJob, stored: StoredTasks, earlier_tasks: Sequence[str], task: Task) -> nn.Module:
    """The network a method starts from, with a fresh head, unless it has learned this very task already."""
    starts_from = entry_of(job.method).starts_from
    if starts_from == "nothing":
        network: nn.Module = build_network(job.network, task.head_channels)
        if job.base is not None and job.base.encoder_weights is not None:
            load_encoder(network, job.base.encoder_weights)
        if job.base is not None and job.base.standardised:
            standardise(network)
        return network
    if starts_from == "base" or not earlier_tasks:
        before, name = stored.base, stored.sequence[0]
    else:
        before, name = stored, earlier_tasks[-1]
    old = before.load(name).build()
    network = build_network(job.network, task.head_channels)
    learned = before.file(name).provenance.settings.get("task") == job.task.model_dump(mode="json")
    network.load_state_dict(
        {key: tensor for key, tensor in old.state_dict().items() if learned or not key.startswith("head.")},
        strict=False,
    )
    return network.eval()


def earlier(job: TrainingJob, stored: StoredTasks, earlier_tasks: dict[str, AnyTask]) -> Iterator[EarlierTask]:
    """What a method that starts from the task before may look back on."""
    if entry_of(job.method).starts_from == "previous":
        for name, settings in earlier_tasks.items():
            yield EarlierTask(build_task(name, settings), stored.file(name).components)


def passes(job: TrainingJob, prepared: Prepared) -> Iterator[Batch]:
    """Training batches of the task, from the start of the training."""
    training = job.training
    batches = TrainingBatches(prepared, job.pictures, training.batch_size, training.steps, seed_of(job))
    for step in range(training.steps):
        yield batches[step]


def seed_of(job: TrainingJob) -> int:
    """The seed of a training: one for all methods of a task, so that they see the same pictures in one order."""
    digest = hashlib.sha256(f"{job.seed}/{job.task_name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
