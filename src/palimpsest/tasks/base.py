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

from palimpsest.data.arrays import Prepared
from palimpsest.metrics.bootstrap import Sample

SMALLEST_VARIANCE = 1e-6
"""Lower bound of a variance of values in [0, 1], for divisions."""

Pixels = NDArray[np.uint8]
"""RGB pictures or label maps as arrays of uint8."""
Targets = NDArray[Any]
"""Prepared targets of many pictures, an array of one of the types in `palimpsest.data.targets`."""
Batch = Mapping[str, Tensor]
"""Tensors by name, on the device of the network. ``picture``: uint8 (N, 3, H, W) RGB. ``target``, if the kind has
targets: uint8 (N, H, W) class labels, uint8 (N, 3, H, W) RGB, or float32 (N, 1, H, W), NaN at unknown pixels."""


class Meter(Protocol):
    """Accumulator that computes a task's metrics over a split, batch by batch.

    It keeps the statistics of each unit, a picture or a small group of pictures, for samples of the split.
    """

    @property
    def units(self) -> int:
        """Number of units so far."""

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add the predictions of one batch."""

    def compute(self, sample: Sample | None = None) -> dict[str, float]:
        """Return the metrics over all batches so far, by their names in `metrics.csv`.

        With a ``sample``, the metrics are those of its units, some of which occur several times.
        """


class Task(nn.Module, ABC):
    """Base class of the kinds of task; one instance is one task of the study.

    It is a module, so that `.to` also moves tensors of the loss (a perceptual network, Gram matrices).
    """

    working_scale: Literal["trained", "own"] = "own"
    """Size at which `palimpsest translate` runs the network: ``trained`` scales photographs to the training size,
    ``own`` leaves them unscaled."""

    refinement: Literal["luminance"] | None = None
    """Detail of the photograph that `refine` adds, for programs that run an exported task without this package.
    None if `refine` changes nothing."""

    classes: list[str] | None = None
    """Names of the classes in the order of their labels; None for a kind without classes."""

    head_channels: int
    """Output channels of the network's head."""

    discriminator: nn.Module | None
    """Discriminator of a task with an adversarial loss; None for all other tasks. Each training starts with a new
    one, and none is stored."""

    def __init__(self, name: str, settings: Any) -> None:
        super().__init__()
        self.name = name
        self.discriminator = None

    @staticmethod
    def refuse(picture: Pixels) -> str | None:
        """Return the reason why a photograph, uint8 (H, W, 3), cannot be learned from; None if it can."""
        return None

    def inputs(self, batch: Batch) -> Tensor:
        """Return the network's input for the pictures of a batch: float (N, 3, H, W) in [0, 1]."""
        return unit(batch["picture"])

    @abstractmethod
    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the predictions, float32 (N, C, H, W), from the network's raw output (N, head_channels, H, W).

        The number of channels C depends on the kind. ``batch`` contains the pictures.
        """

    def refine(self, enlarged: Tensor, photograph: Tensor) -> Tensor:
        """Return a prediction at the photograph's size, completed with details of the photograph.

        ``enlarged`` is the interpolated prediction, float (N, C, H, W); ``photograph`` is uint8 (N, 3, H, W).
        Pixels must not depend on each other, because large pictures are processed in bands. By default the
        interpolated prediction is returned; class scores are interpolated before the argmax.
        """
        return enlarged

    def use_training_data(self, prepared: Prepared) -> None:
        """Adapt the loss to the statistics of the training pictures or targets. By default, do nothing."""

    @abstractmethod
    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, the scalar to minimise, and its parts, if any, by their names in `metrics.csv`."""

    def discriminator_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the loss that the discriminator minimises, a scalar; only for tasks with a `discriminator`.

        The discriminator takes a step after each step of the network.
        """
        raise NotImplementedError(f"{self.name} has no discriminator")

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood, a scalar, of targets sampled from the predicted distribution.

        The mean of its squared gradient is the Fisher information. By default, for kinds whose loss is no
        likelihood, return the loss.
        """
        return self.losses(prediction, batch)["loss"]

    def distillation(self, predicted: Tensor, expected: Tensor, temperature: float) -> Tensor:
        """Return the distance between predictions and those of an earlier network, ``expected``, as a scalar.

        By default it is the mean squared difference divided by the variance of ``expected``. Kinds with class
        scores compare distributions at a ``temperature``, which the default ignores.
        """
        return F.mse_loss(predicted, expected) / expected.var().clamp(min=SMALLEST_VARIANCE)

    @abstractmethod
    def meter(self) -> Meter:
        """Return a new meter for one split."""

    @abstractmethod
    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the trivial baseline: a function from a batch to predictions that needs no trained network.

        ``training_targets`` are the prepared targets of the split `train`; None for a kind without targets.
        """

    @abstractmethod
    def paint(self, prediction: Tensor) -> Pixels:
        """Return predictions as pictures, uint8 (N, H, W, 3)."""

    def scores(self, prediction: Tensor) -> Tensor:
        """Return the class scores (N, classes, H, W) of predictions; only for tasks with `classes`.

        The class of a pixel is that of its largest score, also after interpolation. By default, the predictions are
        the scores.
        """
        return prediction

    def label_tensor(self, prediction: Tensor) -> Tensor:
        """Return predictions as label maps, uint8 (N, H, W); only for tasks with `classes`."""
        raise NotImplementedError(f"{self.name} has no classes")

    def labels(self, prediction: Tensor) -> Pixels:
        """Return the label maps of `label_tensor` as an array."""
        labels: Pixels = self.label_tensor(prediction).cpu().numpy()
        return labels

    @abstractmethod
    def paint_target(self, batch: Batch) -> Pixels:
        """Return the targets as pictures, uint8 (N, H, W, 3); the photographs for a kind without targets."""


def unit(pictures: Tensor) -> Tensor:
    """Return uint8 pictures of any shape as float in [0, 1]."""
    return pictures.float() / 255


def to_pixels(pictures: Tensor) -> Pixels:
    """Return float pictures (N, 3, H, W) as uint8 (N, H, W, 3); values outside [0, 1] are clipped."""
    array: Pixels = (pictures.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return array
