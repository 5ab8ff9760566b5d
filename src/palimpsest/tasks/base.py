"""The interface between a kind of image translation task and everything else.

A kind says which target a photograph gets (preparation), how many channels its head has, what the loss is, what
is measured and how a prediction is painted. It knows nothing of methods and networks.
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
"""Variance of pictures in [0, 1] below which they count as equal."""

Pixels = NDArray[np.uint8]
Targets = NDArray[Any]
"""Targets as they are prepared, in one of the forms of `palimpsest.data.targets`."""
Batch = Mapping[str, Tensor]
"""``picture``: uint8 (N, 3, H, W) RGB; ``target``, where the kind has one: uint8 (N, H, W) class labels,
uint8 (N, 3, H, W) RGB, or float32 (N, 1, H, W) values with NaN where they are unknown. All on the device of the
network."""


class Meter(Protocol):
    """Gathers what is needed for a task's metrics over a whole split, batch by batch."""

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add one batch."""

    def compute(self) -> dict[str, float]:
        """Metrics over everything seen so far, by the names of `metrics.csv`."""


class Task(nn.Module, ABC):
    """One task. A module, so that what its loss needs (a perceptual network, Gram matrices) moves with `.to`."""

    working_scale: Literal["trained", "own"] = "own"
    """At which size a photograph is translated: scaled to the size of training, or as it is."""

    head_channels: int
    """Channels that the network has to give."""

    discriminator: nn.Module | None
    """Discriminator of a task with an adversarial loss; None for other tasks. Each training starts
    with a fresh one, so that none is needed to go on learning, and none is stored."""

    def __init__(self, name: str, settings: Any) -> None:
        super().__init__()
        self.name = name
        self.discriminator = None

    @staticmethod
    def refuse(picture: Pixels) -> str | None:
        """Return the reason why a photograph cannot be used for this task, or None where it can."""
        return None

    def inputs(self, batch: Batch) -> Tensor:
        """Return the network's input: float (N, 3, H, W) in [0, 1]."""
        return unit(batch["picture"])

    @abstractmethod
    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the network's raw output (N, head_channels, H, W) as the task's prediction, in float32."""

    def refine(self, enlarged: Tensor, photograph: Tensor) -> Tensor:
        """Return a prediction at the photograph's own size, completed with details of the photograph.

        ``enlarged`` is the prediction, interpolated to float (N, C, H, W); ``photograph`` is uint8 (N, 3, H, W).
        Each pixel on its own, so that a large picture can be done in bands. Unless a kind says otherwise, the
        interpolated prediction is the answer; class scores are interpolated before the largest is taken.
        """
        return enlarged

    @abstractmethod
    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``loss``, the scalar to minimise, and its parts under the names of `metrics.csv`."""

    def discriminator_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the loss of the discriminator, which trains after each step of the network."""
        raise NotImplementedError(f"{self.name} has no discriminator")

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of an answer that is drawn from what the network itself predicts.

        The square of its gradient is, in the mean, the Fisher information. A kind whose loss is no likelihood
        gives the loss itself.
        """
        return self.losses(prediction, batch)["loss"]

    def distillation(self, predicted: Tensor, expected: Tensor, temperature: float) -> Tensor:
        """Return the distance of two predictions of the same task: a scalar, which distillation minimises.

        The squared difference, as a share of the variance of what is expected, so that it has no unit; class scores
        are compared as distributions, at a ``temperature``.
        """
        return F.mse_loss(predicted, expected) / expected.var().clamp(min=SMALLEST_VARIANCE)

    @abstractmethod
    def meter(self) -> Meter:
        """Return a fresh meter for one split."""

    @abstractmethod
    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the trivial baseline, which needs no learning, as a function from a batch to a prediction.

        ``training_targets`` are those of the prepared arrays, where the kind has targets.
        """

    @abstractmethod
    def paint(self, prediction: Tensor) -> Pixels:
        """Return a prediction as pictures: uint8 (N, H, W, 3)."""

    @abstractmethod
    def paint_target(self, batch: Batch) -> Pixels:
        """Return the truth as pictures, uint8 (N, H, W, 3); the photograph itself where there is no truth."""


def unit(pictures: Tensor) -> Tensor:
    """Uint8 pictures as float in [0, 1]."""
    return pictures.float() / 255


def to_pixels(pictures: Tensor) -> Pixels:
    """Float pictures (N, 3, H, W) in [0, 1] as uint8 (N, H, W, 3); values outside are clipped."""
    array: Pixels = (pictures.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return array
