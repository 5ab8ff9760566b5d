"""Training loop: one method trains on one task, or on several tasks in turn.

The optimiser is AdamW with linear warm-up and cosine decay. The last state is stored and not the best one on the
validation split, because a selection would bias the measurement on this split. A task has the same number of steps
under every method, except the base task: it has `base.steps`, if set, in the base network and in `joint`.
"""

import logging
import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from tqdm import tqdm

from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import TrainingBatches, training_loader
from palimpsest.devices import device_for, precision_for
from palimpsest.errors import TrainingError
from palimpsest.groups import CropSettings, TrainingSettings
from palimpsest.methods.base import Method, ParameterGroup
from palimpsest.networks.trunk import normalisation_layers
from palimpsest.tasks.base import Batch, Task
from palimpsest.training.adversary import Adversary
from palimpsest.training.checkpoint import load_progress, save_progress
from palimpsest.training.schedule import schedule

log = logging.getLogger(__name__)

SPEED = "images_per_second"
"""Name of the speed of an epoch in the history of a training."""
EpochDone = Callable[[Sequence[dict[str, float]]], None]
"""Function that is called after every epoch and when a training resumes, with `Progress.history`."""


@dataclass(frozen=True)
class TaskData:
    """One task of a training with its data, batch size, number of steps and seed."""

    task: Task
    prepared: Prepared
    pictures: CropSettings
    batch_size: int
    steps: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """Settings that all tasks of a training share, and its checkpoint."""

    training: TrainingSettings
    checkpoint: Path
    """Path of the checkpoint."""
    key: str
    """Key of this training; see `Progress.key`."""


def start_fabric(training: TrainingSettings, *, unused_parameters: bool = False) -> Fabric:
    """Start the processes of all devices, and return the `Fabric` of this process.

    Devices, precision and threads are those of the settings. ``unused_parameters`` is True if some steps do not use
    all parameters, as with several tasks.
    """
    several = unused_parameters and training.devices > 1
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision on stderr
    with warnings.catch_warnings():
        # On any machine with SLURM's commands; a job of the pipeline starts the processes of its devices itself.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        fabric = Fabric(
            accelerator=device_for(training.accelerator).type,
            devices=training.devices,
            precision=precision_for(training),
            strategy=DDPStrategy(find_unused_parameters=True) if several else "auto",
        )
    fabric.launch()
    torch.set_num_threads(training.threads)  # after the launch, which divides all cores among the devices
    return fabric


def train(
    fabric: Fabric,
    network: nn.Module,
    method: Method,
    groups: list[ParameterGroup],
    task_data: Sequence[TaskData],
    plan: Plan,
    on_epoch: EpochDone = lambda history: None,
) -> list[dict[str, float]]:
    """Train the parameters of ``groups`` in place; return the history of the epochs (`Progress.history`).

    A checkpoint of an interrupted training is resumed and is written after every epoch. Several tasks take turns,
    each for its own number of steps and with its own optimiser. Adam normalises the gradients of each optimiser, so
    that a task with large gradients does not dominate the others (Yang et al., AdaTask, AAAI 2023). All other
    training settings are the same for all tasks.

    Raises:
        TrainingError: loss or gradient is not finite; the last checkpoint remains.
    """
    settings = plan.training
    network.to(memory_format=torch.channels_last)
    model, *optimizers = fabric.setup(network, *(optimizer_of(groups) for _ in task_data))
    tasks = [data.task.to(fabric.device) for data in task_data]
    adversaries = [Adversary(fabric, task) for task in tasks]
    progress = load_progress(plan.checkpoint, plan.key)
    if progress.step:
        progress.restore(network, optimizers, adversaries)
        on_epoch(progress.history)
    turns = turns_of([data.steps for data in task_data])
    steps = len(turns)
    loaders = loaders_of(fabric, task_data, turns[: progress.step])
    model.train()
    bar, epoch = progress_bar(task_data, turns[: progress.step], fabric.is_global_zero), EpochMeans()
    for step in range(progress.step, steps):
        index = turns[step]
        task, optimizer = tasks[index], optimizers[index]
        method.set_active_task(network, task.name)
        set_learning_rates(optimizer, groups, [schedule(step, steps, settings.warmup, g.lr_end) for g in groups])
        if step >= round(steps * (1 - settings.batchnorm_frozen)):
            freeze_batchnorm(network)
        batch = {key: value.to(fabric.device, non_blocking=True) for key, value in next(loaders[index]).items()}
        output = model(task.inputs(batch).contiguous(memory_format=torch.channels_last))
        prediction = task.prediction(output, batch)
        loss, parts = penalised(fabric, network, method, task.losses(prediction, batch), batch)
        means = mean_over_devices(fabric, {**parts, "total": loss})
        total = check_finite(means.pop("total").item(), groups, step)
        fabric.backward(loss)
        clip(groups, settings.gradient_clip, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        adversaries[index].step(prediction, batch)
        method.after_step(network, (step + 1) / steps)
        epoch.add(means, task_data[index].batch_size)
        bar.set_postfix_str(f"loss {total:.4f}", refresh=False)
        bar.update(task_data[index].batch_size)
        if (step + 1) % settings.steps_per_epoch == 0 or step + 1 == steps:
            progress.step = step + 1
            progress.history.append({"step": float(step + 1), **epoch.means()})
            log.info(log_line(progress.history[-1], steps))
            progress.capture(network, optimizers, adversaries)
            if fabric.is_global_zero:
                save_progress(plan.checkpoint, progress)
                on_epoch(progress.history)
            epoch = EpochMeans()
    bar.close()
    method.after_training(network)
    return progress.history


def penalised(
    fabric: Fabric, network: nn.Module, method: Method, parts: dict[str, Tensor], batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss to minimise and its parts by name.

    ``parts`` are those of the task's loss; a penalty of the method, if any, is added to the loss and to the parts.
    """
    with fabric.autocast():
        penalty = method.penalty(network, batch, parts["loss"].detach())
    if penalty is None:
        return parts["loss"], parts
    return parts["loss"] + penalty, {**parts, "penalty": penalty}


def mean_over_devices(fabric: Fabric, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return each part of the loss as its mean over all devices.

    A loss that is not finite then stops all devices at the same step.
    """
    if fabric.world_size == 1:
        return parts
    means = fabric.all_reduce({name: part.detach().clone() for name, part in parts.items()})
    assert isinstance(means, dict)
    return means


def check_finite(loss: float, groups: Sequence[ParameterGroup], step: int) -> float:
    """Return the loss of a step if it is finite; ``groups`` name the settings for the message.

    Raises:
        TrainingError: the loss is infinite or NaN.
    """
    if not math.isfinite(loss):
        settings = " or ".join(dict.fromkeys(group.setting for group in groups))
        raise TrainingError(f"step {step}: the loss is {loss}; lower {settings}")
    return loss


def turns_of(steps: Sequence[int]) -> list[int]:
    """Return for each step of a training the index of the task whose turn it is.

    ``steps`` are the numbers of steps of the tasks, whose turns alternate evenly.
    """
    return [index for _, index in sorted(((k + 0.5) / n, index) for index, n in enumerate(steps) for k in range(n))]


def loaders_of(
    fabric: Fabric, task_data: Sequence[TaskData], done: Sequence[int]
) -> list[Iterator[dict[str, Tensor]]]:
    """Return one iterator per task over its remaining batches, each with the pictures of this device only.

    ``done`` lists the turns (`turns_of`) of the steps that are done.
    """
    loaders = []
    for index, data in enumerate(task_data):
        batches = TrainingBatches(
            data.prepared,
            data.pictures,
            data.batch_size,
            data.steps,
            data.seed,
            fabric.global_rank,
            fabric.world_size,
        )
        workers = 0 if fabric.device.type == "cpu" else 4
        loaders.append(training_loader(batches, done.count(index), workers))
    return loaders


def progress_bar(task_data: Sequence[TaskData], done: Sequence[int], enabled: bool) -> "tqdm[NoReturn]":
    """Return a progress bar that counts pictures and appears only on terminals, if ``enabled``.

    ``done`` lists the turns (`turns_of`) of the steps that are done.
    """
    return tqdm(
        total=sum(data.batch_size * data.steps for data in task_data),
        initial=sum(task_data[index].batch_size for index in done),
        desc=" + ".join(data.task.name for data in task_data),
        unit=" images",
        disable=None if enabled else True,
        leave=False,
        file=sys.stderr,
    )


def optimizer_of(groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
    """Return AdamW with the learning rate, weight decay and betas of each group.

    It is fused, since a small network has many small tensors.
    """
    entries = [
        {
            "name": group.name,
            "params": group.parameters,
            "lr": group.learning_rate,
            "weight_decay": group.weight_decay,
            "betas": group.betas,
        }
        for group in groups
    ]
    return torch.optim.AdamW(entries, fused=True)


def set_learning_rates(
    optimizer: torch.optim.Optimizer, groups: Sequence[ParameterGroup], factors: Sequence[float]
) -> None:
    """Set the learning rate of each group to a fraction of its peak, in place; ``factors`` has one per group."""
    for entry, group, factor in zip(optimizer.param_groups, groups, factors, strict=True):
        entry["lr"] = group.learning_rate * factor


def freeze_batchnorm(network: nn.Module) -> None:
    """Set the normalisation layers to evaluation mode, in which running statistics are used and not updated.

    Scale and shift still train.
    """
    for _, layer in normalisation_layers(network):
        layer.eval()


def clip(groups: Sequence[ParameterGroup], max_norm: float, step: int) -> None:
    """Scale down, in place, the gradients of each group whose norm exceeds ``max_norm``.

    Groups are clipped separately: the gradients of mask scores and of BatchNorm differ in scale, and the larger
    gradients would dominate a common norm.

    Raises:
        TrainingError: a gradient is not finite.
    """
    for group in groups:
        norm = torch.nn.utils.clip_grad_norm_(group.parameters, max_norm)
        if not torch.isfinite(norm):
            raise TrainingError(f"step {step}: the gradient of {group.name} is not finite; lower {group.setting}")


class EpochMeans:
    """Accumulator of the losses and the speed of one epoch, which starts with the object."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps: Counter[str] = Counter()
        self.images = 0
        self.started = time.perf_counter()

    def add(self, parts: dict[str, Tensor], images: int) -> None:
        """Add the parts of the loss of one step, and its number of pictures."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        self.steps.update(parts.keys())
        self.images += images

    def means(self) -> dict[str, float]:
        """Return the mean of each part of the loss over the steps that have it, and the speed."""
        seconds = time.perf_counter() - self.started
        return {
            **{name: float(value) / self.steps[name] for name, value in self.sums.items()},
            SPEED: self.images / seconds,
        }


def log_line(entry: dict[str, float], steps: int) -> str:
    """Return the line of the log for an entry of the history; ``steps`` is the number of all steps."""
    values = "  ".join(f"{name} {value:.4f}" for name, value in entry.items() if name not in ("step", SPEED))
    return f"step {entry['step']:.0f}/{steps}  {values}  {entry[SPEED]:.0f} images/s"
