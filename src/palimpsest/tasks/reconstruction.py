"""Photograph → the same photograph: the task of the residual networks' auto-encoder."""

from torch import Tensor

from palimpsest.tasks.base import Batch, unit
from palimpsest.tasks.paired import PairedTask
from palimpsest.tasks.paired_settings import PairedSettings
from palimpsest.tasks.reconstruction_settings import ReconstructionSettings


class ReconstructionTask(PairedTask):
    """L1 between the network's picture and its input."""

    def __init__(self, name: str, settings: ReconstructionSettings) -> None:
        super().__init__(name, PairedSettings(kind="paired", data=settings.data))

    def truth(self, batch: Batch) -> Tensor:
        """Return the input."""
        return unit(batch["picture"])
