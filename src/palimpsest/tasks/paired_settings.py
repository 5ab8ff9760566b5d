"""Settings of the kind `paired`."""

from typing import Literal

from palimpsest.tasks.settings import TaskSettings


class PairedSettings(TaskSettings):
    """Input picture → target picture, from two folders or from files with both pictures."""

    kind: Literal["paired"]
    loss: Literal["l1", "l2"] = "l1"
    """Distance between prediction and target: mean absolute (`l1`) or mean squared (`l2`) error of the pixels."""
