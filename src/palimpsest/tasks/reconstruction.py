"""Photograph → the same photograph: the task of the residual networks' auto-encoder."""

from torch import Tensor

from palimpsest.tasks.base import Batch, unit
from palimpsest.tasks.paired import PairedTask
from palimpsest.tasks.paired_settings import PairedSettings
from palimpsest.tasks.reconstruction_settings import ReconstructionSettings


class ReconstructionTask(PairedTask):
    """Reconstruction of the input with an L1 loss."""

    def __init__(self, name: str, settings: ReconstructionSettings) -> None:
        super().__init__(name, PairedSettings(kind="paired", data=settings.data))

    def truth(self, batch: Batch) -> Tensor:
        """Return the input pictures of a batch, float (N, 3, H, W) in [0, 1]."""
        return unit(batch["picture"])
