"""A trained task as one module: preprocessing, network and postprocessing."""

import torch
from torch import Tensor, nn

from palimpsest.tasks.base import Batch, Task


class Predictor(nn.Module):
    """Pictures → predictions: uint8 (N, 3, H, W) RGB → float32 (N, C, H, W), as the kind of task defines them.

    The module works with `.to` and with `torch.export.export`.
    """

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = network
        self.task = task

    def forward(self, picture: Tensor) -> Tensor:
        """Return the predictions for pictures whose sides are multiples of the network's stride."""
        batch = {"picture": picture}
        return self.task.prediction(self.network(self.inputs(batch)), batch)

    def predict(self, batch: Batch) -> Tensor:
        """Return the predictions for ``batch["picture"]``; targets in the batch are ignored."""
        prediction: Tensor = self(batch["picture"])
        return prediction

    def inputs(self, batch: Batch) -> Tensor:
        """Return the network's input for a batch: float (N, 3, H, W) in [0, 1], channels last for speed."""
        return self.task.inputs(batch).contiguous(memory_format=torch.channels_last)
