"""Functions that the kinds of task with label maps share: colours of the classes, and baselines of one class."""

from collections.abc import Callable

from torch import Tensor

from palimpsest.data.voc import palette
from palimpsest.tasks.base import Batch, Pixels


def paint_labels(labels: Pixels) -> Pixels:
    """Return label maps, uint8 (N, H, W), as pictures in the colours of VOC, uint8 (N, H, W, 3)."""
    return palette()[labels]


def everywhere(value: Tensor) -> Callable[[Batch], Tensor]:
    """Return a baseline that predicts ``value``, (channels, 1, 1), at every pixel of every picture."""

    def predict(batch: Batch) -> Tensor:
        height, width = batch["picture"].shape[2:]
        return value.expand(len(batch["picture"]), -1, height, width)

    return predict
