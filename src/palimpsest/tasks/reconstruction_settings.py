"""Settings of the kind `reconstruction`."""

from typing import Literal

from palimpsest.tasks.settings import TaskSettings


class ReconstructionSettings(TaskSettings):
    """Photograph → the same photograph."""

    kind: Literal["reconstruction"]
