"""Settings of the method `fine-tune`."""

from typing import Literal

from palimpsest.schema import SettingsGroup


class FineTuneSettings(SettingsGroup):
    """One network that trains on one task after another."""

    batchnorm: Literal["task", "shared"] = "task"
    """`task`: each task keeps its own BatchNorm; `shared`: all tasks share one, which increases forgetting, as in
    most published figures."""
