"""The file from which an interrupted training goes on; gone when the training is done."""

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palimpsest.storage.atomic import replacing


@dataclass
class Progress:
    """Everything that a training needs to go on from a step as if it had never stopped."""

    key: str
    """Digest of settings, inputs and code: a checkpoint of another training is not taken."""
    step: int = 0
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry per finished epoch."""


def save_progress(path: Path, progress: Progress) -> None:
    """Write the checkpoint, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:  # given a path, a full disk is no OSError
        torch.save(asdict(progress), file)


def load_progress(path: Path, key: str) -> Progress:
    """The checkpoint of this very training, or a fresh start where there is none."""
    try:
        progress = Progress(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError):
        return Progress(key)
    return progress if progress.key == key else Progress(key)
