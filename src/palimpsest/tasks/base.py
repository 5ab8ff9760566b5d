"""The interface between a kind of image translation task and the rest of the code.

A kind defines which photographs are suitable, the channels of the head, loss and metrics, the trivial baseline, and
how predictions become pictures. It does not depend on methods and networks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST_VARIANCE = 1e-6
"""Lower bound of a variance of values in [0, 1], for divisions."""

Pixels = NDArray[np.uint8]
Targets = NDArray[Any]
"""Prepared targets, in one of the forms of `palimpsest.data.targets`."""
Batch = Mapping[str, Tensor]
"""``picture``: uint8 (N, 3, H, W) RGB; ``target``, if the kind has targets: uint8 (N, H, W) class labels, uint8
(N, 3, H, W) RGB, or float32 (N, 1, H, W) values with NaN for unknown pixels. All on the device of the network."""


class Meter(Protocol):
    """Accumulator of a task's metrics over a split, batch by batch."""

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add one batch."""

    def compute(self) -> dict[str, float]:
        """Return the metrics over all batches so far, by their names in `metrics.csv`."""


class Task(nn.Module, ABC):
    """Task; a module, so that `.to` also moves tensors of the loss (a perceptual network, Gram matrices)."""

    working_scale: Literal["trained", "own"] = "own"
    """Size at which photographs are translated: ``trained``, scaled to the training size, or ``own``, unscaled."""

    head_channels: int
    """Output channels of the network."""

    discriminator: nn.Module | None
    """Discriminator of a task with an adversarial loss; None for all other tasks. Each training starts with a new
    one, and none is stored."""

    def __init__(self, name: str, settings: Any) -> None:
        super().__init__()
        self.name = name
        self.discriminator = None

    @staticmethod
    def refuse(picture: Pixels) -> str | None:
        """Return the reason why a photograph is unsuitable for this task, or None."""
        return None

    def inputs(self, batch: Batch) -> Tensor:
        """Return the network's input: float (N, 3, H, W) in [0, 1]."""
        return unit(batch["picture"])

    @abstractmethod
    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the task's prediction in float32 from the network's raw output (N, head_channels, H, W)."""

    def refine(self, enlarged: Tensor, photograph: Tensor) -> Tensor:
        """Return a prediction at the photograph's size, completed with details of the photograph.

        ``enlarged`` is the interpolated prediction, float (N, C, H, W); ``photograph`` is uint8 (N, 3, H, W).
        Pixels must not depend on each other, because large pictures are processed in bands. By default the
        interpolated prediction is returned; class scores are interpolated before the argmax.
        """
        return enlarged

    @abstractmethod
    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, the scalar to minimise, and its parts by their names in `metrics.csv`."""

    def discriminator_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the discriminator's loss; the discriminator trains after each step of the network."""
        raise NotImplementedError(f"{self.name} has no discriminator")

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of a target sampled from the predicted distribution.

        The Fisher information is the mean of its squared gradient. For a kind whose loss is no likelihood, return
        the loss.
        """
        return self.losses(prediction, batch)["loss"]

    def distillation(self, predicted: Tensor, expected: Tensor, temperature: float) -> Tensor:
        """Return the distance of two predictions of the same task, a scalar that distillation minimises.

        By default it is the mean squared difference divided by the variance of ``expected``. Kinds with class
        scores compare distributions at a ``temperature``.
        """
        return F.mse_loss(predicted, expected) / expected.var().clamp(min=SMALLEST_VARIANCE)

    @abstractmethod
    def meter(self) -> Meter:
        """Return a new meter for one split."""

    @abstractmethod
    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the trivial baseline, a function from a batch to a prediction without training.

        ``training_targets`` are the prepared targets of the split `train`; None for a kind without targets.
        """

    @abstractmethod
    def paint(self, prediction: Tensor) -> Pixels:
        """Return a prediction as pictures: uint8 (N, H, W, 3)."""

    @abstractmethod
    def paint_target(self, batch: Batch) -> Pixels:
        """Return the targets as pictures, uint8 (N, H, W, 3); the photographs for a kind without targets."""


def unit(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as float in [0, 1]."""
    return pictures.float() / 255


def to_pixels(pictures: Tensor) -> Pixels:
    """Return float pictures (N, 3, H, W) as uint8 (N, H, W, 3); values outside [0, 1] are clipped."""
    array: Pixels = (pictures.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return array
