"""Sample pictures of a training: predictions of the unfinished network after each epoch."""

import numpy as np
import torch
from torch import nn

from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.data.pictures import Pixels
from palimpsest.groups import MeasuredSplit
from palimpsest.inference import Predictor
from palimpsest.methods.base import Method, load_into
from palimpsest.networks import build_network
from palimpsest.networks.settings import NetworkSettings
from palimpsest.tasks.base import Task

PICTURES = 4
"""Number of predictions in a sample."""


class SamplePainter:
    """Painter of the predictions for the first pictures of a split.

    It loads the weights into a network of its own and leaves the network in training, its BatchNorm and all random
    numbers as they are, so that a training with samples ends with the same weights as one without.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        task: Task,
        prepared: Prepared,
        split: MeasuredSplit,
        device: torch.device,
    ) -> None:
        with torch.random.fork_rng():  # the initial weights draw from the generator
            network = build_network(settings, task.head_channels)
        self.predictor = Predictor(network.to(device).eval(), task)
        batch = next(evaluation_batches(prepared, split, PICTURES), {})
        self.batch = {key: value.to(device) for key, value in batch.items()}

    @torch.inference_mode()
    def paint(self, method: Method, network: nn.Module) -> Pixels | None:
        """Return the predictions of a network side by side, uint8 (H, n · W, 3); None if the split is empty."""
        if not self.batch:
            return None
        load_into(self.predictor.network, method.plain_state(network))
        return np.concatenate(list(self.predictor.task.paint(self.predictor.predict(self.batch))), axis=1)
