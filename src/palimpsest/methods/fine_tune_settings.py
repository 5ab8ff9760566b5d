"""Settings of the method `fine-tune`."""

from typing import Literal

from palimpsest.schema import SettingsGroup


class FineTuneSettings(SettingsGroup):
    """One network that is trained on and on."""

    batchnorm: Literal["task", "shared"] = "task"
    """`task`: each task keeps its own BatchNorm; `shared`: one moves on with the network. Shared, forgetting looks
    worse, as in most published figures."""
