"""Checkpoint of an interrupted training, deleted once the training is done and recorded."""

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
    """Complete state of a training after a step, the content of a checkpoint.

    A resumed training has the same result as an uninterrupted one.
    """

    key: str
    """Digest of settings, inputs and code; a checkpoint with another key is ignored."""
    step: int = 0
    """Number of steps that are done."""
    network: dict[str, Tensor] = field(default_factory=dict)
    """`state_dict` of the network."""
    optimizers: list[dict[str, Any]] = field(default_factory=list)
    """State of the optimiser of each task."""
    adversaries: list[dict[str, Any]] = field(default_factory=list)
    """State of the discriminator of each task; empty for a task without one."""
    history: list[dict[str, float]] = field(default_factory=list)
    """For each finished epoch its last step, mean losses and images per second; see `EpochMeans.means`."""

    def capture(
        self, network: nn.Module, optimizers: Sequence[Optimizer], adversaries: Sequence[Adversary]
    ) -> None:
        """Store references to the current state of network, optimisers and discriminators in this object."""
        self.network = network.state_dict()
        self.optimizers = [optimizer.state_dict() for optimizer in optimizers]
        self.adversaries = [adversary.state() for adversary in adversaries]

    def restore(
        self, network: nn.Module, optimizers: Sequence[Optimizer], adversaries: Sequence[Adversary]
    ) -> None:
        """Load the stored state into network, optimisers and discriminators, in place."""
        log.info("resumed at step %d", self.step)
        network.load_state_dict(self.network)
        for optimizer, optimizer_state in zip(optimizers, self.optimizers, strict=True):
            optimizer.load_state_dict(optimizer_state)
        for adversary, state in zip(adversaries, self.adversaries, strict=True):
            adversary.resume(state)


def save_progress(path: Path, progress: Progress) -> None:
    """Write a checkpoint atomically."""
    content = io.BytesIO()  # on a full disk torch.save to a file raises no OSError
    torch.save(asdict(progress), content)
    write_bytes(path, content.getbuffer())


def load_progress(path: Path, key: str) -> Progress:
    """Load a checkpoint; return a new state at step 0 if it is missing, damaged or has another key.

    The log names the reason.
    """
    if not path.exists():
        return Progress(key)
    try:
        progress = Progress(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises many types of error for a damaged file
        if is_interruption(error):
            raise
        log.warning("%s: damaged (%r); ignored, training starts at step 0", path, error)
        return Progress(key)
    if progress.key != key:
        log.info("%s: from other settings, inputs or code; ignored, training starts at step 0", path)
        return Progress(key)
    return progress
