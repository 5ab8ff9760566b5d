"""The file from which an interrupted training goes on; gone when the training is done and recorded."""

import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from palimpsest.interruption import is_interruption
from palimpsest.storage.atomic import write_bytes
from palimpsest.training.adversary import Adversary

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Everything that a training needs to go on from a step as if it had never stopped."""

    key: str
    """Digest of settings, inputs and code: a checkpoint of another training is not taken."""
    step: int = 0
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizers: list[dict[str, Any]] = field(default_factory=list)
    """One for each task that is learned at once."""
    adversaries: list[dict[str, Any]] = field(default_factory=list)
    """Of the discriminators that learn beside the network; empty of a task without one."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry per finished epoch."""

    def capture(
        self, network: nn.Module, optimizers: Sequence[Optimizer], adversaries: Sequence[Adversary]
    ) -> None:
        """Hold the state of all that learns."""
        self.network = network.state_dict()
        self.optimizers = [optimizer.state_dict() for optimizer in optimizers]
        self.adversaries = [adversary.state() for adversary in adversaries]

    def restore(
        self, network: nn.Module, optimizers: Sequence[Optimizer], adversaries: Sequence[Adversary]
    ) -> None:
        """Put all that learns into the state that is held."""
        log.info("resumed at step %d", self.step)
        network.load_state_dict(self.network)
        for optimizer, held in zip(optimizers, self.optimizers, strict=True):
            optimizer.load_state_dict(held)
        for adversary, state in zip(adversaries, self.adversaries, strict=True):
            adversary.resume(state)


def save_progress(path: Path, progress: Progress) -> None:
    """Write the checkpoint, whole or not at all."""
    content = io.BytesIO()  # written to a full disk itself, torch.save raises what is no OSError
    torch.save(asdict(progress), content)
    write_bytes(path, content.getbuffer())


def load_progress(path: Path, key: str) -> Progress:
    """The checkpoint of this very training, or a fresh start where there is none."""
    if not path.exists():
        return Progress(key)
    try:
        progress = Progress(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        if is_interruption(error):
            raise
        log.warning("%s: is damaged and not taken (%r); starting anew", path, error)
        return Progress(key)
    if progress.key != key:
        log.info("%s: is of other settings, inputs or code and not taken; starting anew", path)
        return Progress(key)
    return progress
