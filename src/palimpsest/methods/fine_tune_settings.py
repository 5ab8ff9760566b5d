"""Settings of the method `fine-tune`."""

from typing import Literal

from palimpsest.methods.settings import MethodSettings


class FineTuneSettings(MethodSettings):
    """One network that trains on one task after another."""

    batchnorm: Literal["task", "shared"] = "task"
    """Owner of BatchNorm's parameters and statistics. `task`: each task has its own; `shared`: all tasks share one,
    as in most published code."""
