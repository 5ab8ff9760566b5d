"""Photograph → class per pixel: cross-entropy, measured by mean intersection over union."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from palimpsest.data.voc import palette
from palimpsest.metrics.segmentation import IGNORED, confusion_matrix, intersection_over_union, mean_iou
from palimpsest.settings import SegmentationSettings
from palimpsest.tasks.base import Batch, Meter, Pixels, Task


class SegmentationTask(Task):
    """Class 0 is the background; label 255 counts neither in the loss nor in the metric."""

    target = "labels"
    working_scale = "trained"

    def __init__(self, name: str, settings: SegmentationSettings) -> None:
        super().__init__(name, settings)
        self.classes = ["background", *settings.classes]
        self.head_channels = len(self.classes)

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Class scores (N, classes, H, W)."""
        return output.float()

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy over the pixels that count; zero where none does."""
        target = batch["target"].long()
        counted = (target != IGNORED).sum().clamp(min=1)
        return {"loss": F.cross_entropy(prediction, target, ignore_index=IGNORED, reduction="sum") / counted}

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Categorical: a class for each pixel that counts, drawn by its score; the sum over pixels."""
        counted = batch["target"] != IGNORED
        scores = prediction.detach()
        gumbel = -torch.empty_like(scores).exponential_().log()  # the largest sum is drawn by the classes' shares
        drawn = (scores + gumbel).argmax(1)
        return (F.cross_entropy(prediction, drawn, reduction="none") * counted).sum()

    def distillation(self, found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """Kullback-Leibler divergence of classes at a temperature, mean over pixels, times its square.

        Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
        """
        now, before = ((scores / temperature).log_softmax(1) for scores in (found, wanted))
        divergence = F.kl_div(now, before, reduction="none", log_target=True).sum(1).mean()
        return temperature**2 * divergence

    def meter(self) -> Meter:
        """One confusion matrix over the split."""
        return ConfusionMeter(self.classes)

    def floor(self, training_targets: Pixels | None) -> Callable[[Batch], Tensor]:
        """The most frequent class of the training pictures everywhere."""
        assert training_targets is not None
        counts = np.zeros(256, np.int64)
        for labels in training_targets:
            counts += np.bincount(labels.reshape(-1), minlength=256)
        winner = int(counts[: len(self.classes)].argmax())
        scores = F.one_hot(torch.tensor(winner), len(self.classes)).float()[:, None, None]

        def answer(batch: Batch) -> Tensor:
            height, width = batch["picture"].shape[2:]
            return scores.expand(len(batch["picture"]), -1, height, width)

        return answer

    def paint(self, prediction: Tensor) -> Pixels:
        """Each class in its colour."""
        return paint_labels(prediction.argmax(1).to(torch.uint8).cpu().numpy())

    def paint_target(self, batch: Batch) -> Pixels:
        """Each class in its colour, ignored pixels in the palette's pale cream."""
        return paint_labels(batch["target"].cpu().numpy())


class ConfusionMeter:
    """Adds up a confusion matrix."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.confusion = np.zeros((len(classes), len(classes)), np.int64)

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Count one batch."""
        found = prediction.argmax(1).to(torch.uint8).cpu().numpy()
        self.confusion += confusion_matrix(batch["target"].cpu().numpy(), found, len(self.classes))

    def compute(self) -> dict[str, float]:
        """``miou`` in per cent, and ``iou/<class>`` in per cent for each class present in the truth."""
        each = intersection_over_union(self.confusion)
        per_class = {
            f"iou/{name}": 100 * float(value)
            for name, value in zip(self.classes, each, strict=True)
            if not np.isnan(value)
        }
        return {"miou": mean_iou(self.confusion), **per_class}


def paint_labels(labels: Pixels) -> Pixels:
    """Label maps (N, H, W) as pictures (N, H, W, 3)."""
    return palette()[labels]
