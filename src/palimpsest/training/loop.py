"""The training loop: one method learns one task.

AdamW with linear warm-up and cosine decay, the last state is kept (not the best on the validation split, which
then would no longer be a test of anything). Every task has the same number of steps under every method.
"""

import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import TrainingBatches, training_loader
from palimpsest.errors import SettingsError, TrainingError
from palimpsest.methods.base import Method, ParameterGroup
from palimpsest.networks.trunk import batchnorm_layers
from palimpsest.settings import CropSettings, TrainingSettings
from palimpsest.tasks.base import Task
from palimpsest.training.checkpoint import Progress, load_progress, save_progress

log = logging.getLogger(__name__)

EpochDone = Callable[[Sequence[dict[str, float]]], None]
"""Is told the whole history after every epoch, and at once when a training is resumed."""


@dataclass(frozen=True)
class Plan:
    """What to train with."""

    training: TrainingSettings
    pictures: CropSettings
    seed: int
    checkpoint: Path
    key: str
    """Identifies this training among all others; see `Progress.key`."""


def start_fabric(training: TrainingSettings) -> Fabric:
    """Devices, precision and threads as the settings say.

    Raises:
        SettingsError: the devices cannot have equal parts of a batch.
    """
    if training.batch_size % training.devices:
        raise SettingsError(
            f"training.devices: {training.devices} devices cannot share a batch of {training.batch_size} pictures"
            " equally; see training.batch_size"
        )
    fabric = Fabric(accelerator=training.accelerator, devices=training.devices, precision=training.precision)
    fabric.launch()
    torch.set_num_threads(training.threads)  # after the launch, which shares out all cores among the devices
    return fabric


def train(
    fabric: Fabric,
    network: nn.Module,
    method: Method,
    groups: list[ParameterGroup],
    task: Task,
    prepared: Prepared,
    plan: Plan,
    on_epoch: EpochDone = lambda history: None,
) -> list[dict[str, float]]:
    """Train what the method named in ``groups``; returns the mean loss, its parts and images/s of each epoch.

    Raises:
        TrainingError: loss or gradient is not finite; the last checkpoint stays.
    """
    settings = plan.training
    network.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(groups)
    model, optimizer = fabric.setup(network, optimizer)
    task = task.to(fabric.device)
    progress = resumed(plan, network, optimizer)
    if progress.step:
        on_epoch(progress.history)
    batches = TrainingBatches(
        prepared,
        plan.pictures,
        settings.batch_size,
        settings.steps,
        plan.seed,
        fabric.global_rank,
        fabric.world_size,
    )
    workers = 0 if fabric.device.type == "cpu" else 4
    moving = round(settings.steps * (1 - settings.batchnorm_frozen))
    model.train()
    bar = progress_bar(task.name, settings, progress.step, fabric.is_global_zero)
    epoch = EpochMeans()
    for step, loaded in enumerate(training_loader(batches, progress.step, workers), start=progress.step):
        for entry, group in zip(optimizer.param_groups, groups, strict=True):
            entry["lr"] = group.learning_rate * schedule(step, settings.steps, settings.warmup, group.share)
        if step >= moving:
            freeze_batchnorm(network)
        batch = {key: value.to(fabric.device, non_blocking=True) for key, value in loaded.items()}
        output = model(task.inputs(batch).contiguous(memory_format=torch.channels_last))
        parts = task.losses(task.prediction(output, batch), batch)
        loss = parts["loss"]
        with fabric.autocast():
            penalty = method.penalty(network, output, batch)
        if penalty is not None:
            parts = {**parts, "penalty": penalty}
            loss = loss + penalty
        told = over_devices(fabric, {**parts, "total": loss})
        total = finite(told.pop("total").item(), groups, step)
        fabric.backward(loss)
        for group in groups:
            clip(group, settings.gradient_clip, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(network, (step + 1) / settings.steps)
        epoch.add(told, settings.batch_size)
        bar.set_postfix_str(f"loss {total:.4f}", refresh=False)
        bar.update(settings.batch_size)
        if (step + 1) % settings.steps_per_epoch == 0 or step + 1 == settings.steps:
            progress.step = step + 1
            progress.history.append({"step": float(step + 1), **epoch.means()})
            log.info(describe(progress.history[-1], settings.steps))
            if fabric.is_global_zero:
                progress.network = network.state_dict()
                progress.optimizer = optimizer.state_dict()
                save_progress(plan.checkpoint, progress)
                on_epoch(progress.history)
            epoch = EpochMeans()
    bar.close()
    return progress.history


def resumed(plan: Plan, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put network and optimiser into the state of the last checkpoint, where there is one of this training."""
    progress = load_progress(plan.checkpoint, plan.key)
    if progress.step:
        network.load_state_dict(progress.network)
        optimizer.load_state_dict(progress.optimizer)
        log.info("resumed at step %d of %d", progress.step, plan.training.steps)
    return progress


def over_devices(fabric: Fabric, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The means of losses over all devices, each of which sees its part of the batch: all stop at one step."""
    if fabric.world_size == 1:
        return parts
    means = fabric.all_reduce({name: part.detach().clone() for name, part in parts.items()})
    assert isinstance(means, dict)
    return means


def finite(loss: float, groups: Sequence[ParameterGroup], step: int) -> float:
    """The loss, if it is a number.

    Raises:
        TrainingError: it is not.
    """
    if not math.isfinite(loss):
        named = " or ".join(dict.fromkeys(group.setting for group in groups))
        raise TrainingError(f"step {step}: the loss is {loss}; lower {named}")
    return loss


def progress_bar(name: str, settings: TrainingSettings, done: int, shown: bool) -> "tqdm[NoReturn]":
    """Pictures seen, their speed and the time left, on a terminal alone; ``done`` steps were taken before."""
    return tqdm(
        total=settings.steps * settings.batch_size,
        initial=done * settings.batch_size,
        desc=name,
        unit=" images",
        disable=None if shown else True,
        leave=False,
        file=sys.stderr,
    )


def optimizer_of(groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
    """AdamW with the settings of each group; fused, since a small network is many small tensors."""
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


def schedule(step: int, steps: int, warmup: float, share: float = 1.0) -> float:
    """The learning rate's share of its peak: linear to 1 over the warm-up, then a cosine to zero.

    It has come to zero after ``share`` of the steps, and stays there.
    """
    rising, falling = max(1, round(warmup * steps)), round(share * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, falling - rising))))


def freeze_batchnorm(network: nn.Module) -> None:
    """Let BatchNorm compute with its running statistics and leave them be; its scale and shift train on."""
    for _, layer in batchnorm_layers(network):
        layer.eval()


def clip(group: ParameterGroup, largest: float, step: int) -> None:
    """Scale the gradient of a group down to a norm.

    Each group by itself: the scores' gradients are of another scale than BatchNorm's, and would decide alone.
    """
    norm = torch.nn.utils.clip_grad_norm_(group.parameters, largest)
    if not torch.isfinite(norm):
        raise TrainingError(f"step {step}: the gradient of {group.name} is not finite; lower {group.setting}")


class EpochMeans:
    """Means of the losses over one epoch, and its speed."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.images = 0
        self.begun = time.perf_counter()

    def add(self, parts: dict[str, Tensor], images: int) -> None:
        """Add one step."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        self.steps += 1
        self.images += images

    def means(self) -> dict[str, float]:
        """Mean of each part of the loss, and ``images_per_second``."""
        seconds = time.perf_counter() - self.begun
        return {
            **{name: float(value) / self.steps for name, value in self.sums.items()},
            "images_per_second": self.images / seconds,
        }


def describe(entry: dict[str, float], steps: int) -> str:
    """One line of the log for one epoch."""
    values = "  ".join(
        f"{name} {value:.4f}" for name, value in entry.items() if name not in ("step", "images_per_second")
    )
    return f"step {entry['step']:.0f}/{steps}  {values}  {entry['images_per_second']:.0f} images/s"
