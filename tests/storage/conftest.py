from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from palimpsest.bundling import bundle_study

Study = Any
NewStudy = Callable[..., Study]
FILE = Path("all.safetensors")
"""Bundle that the fixture `bundled` writes."""


def moved(seed: int) -> Callable[[nn.Module], None]:
    """Return a function that perturbs trainable parameters and running statistics, as a training does."""

    def move(network: nn.Module) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
                if name.endswith(".bias") and parameter.requires_grad:
                    parameter.add_(0.5)  # otherwise all units of this narrow network may be dead
            for name, buffer in network.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.add_(torch.rand(buffer.shape, generator=generator), alpha=0.3)

    return move


@pytest.fixture
def stored_study(new_study: NewStudy) -> NewStudy:
    """Return a function that stores all tasks of a method and their base, perturbed instead of trained.

    Its further arguments override settings.
    """

    def make(method: str, **changes: Any) -> Study:
        study = new_study(**changes)
        for number, path in enumerate(study.stored(method).task_files.files()):
            if not path.exists():  # one training may store all tasks
                study.store_untrained(path.parent.name, path.stem, moved(number))
        return study

    return make


@pytest.fixture
def bundled(stored_study: NewStudy) -> Study:
    """Return a study with stored masks, and write its bundle."""
    study = stored_study("piggyback")
    bundle_study(study.settings, 0, "piggyback").save(FILE)
    return study
