"""Photograph → class per pixel, measured by mean intersection over union.

The loss is cross-entropy, or a loss of pictures on the label map painted with one colour per class.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from palimpsest.data.arrays import Prepared
from palimpsest.metrics.bootstrap import Sample
from palimpsest.metrics.segmentation import IGNORED, confusion_matrix, intersection_over_union, mean_iou
from palimpsest.tasks.base import Batch, Meter, Pixels, Targets, Task
from palimpsest.tasks.discriminator import PatchDiscriminator
from palimpsest.tasks.label_maps import everywhere, paint_labels
from palimpsest.tasks.painted import Colours
from palimpsest.tasks.pictures import balanced, sampled_loss
from palimpsest.tasks.segmentation_settings import SegmentationSettings


class SegmentationTask(Task):
    """Semantic segmentation; class 0 is the background, and pixels of label 255 are excluded from loss and metric.

    With a loss other than cross-entropy the network predicts the label map as a picture (`Colours`).
    """

    working_scale = "trained"
    classes: list[str]
    discriminator: PatchDiscriminator | None
    class_weights: Tensor | None
    """Weight of each class in the cross-entropy, (classes,); None if all are equal."""

    def __init__(self, name: str, settings: SegmentationSettings) -> None:
        super().__init__(name, settings)
        self.classes = ["background", *settings.classes]
        self.painted = settings.loss != "cross-entropy"
        self.head_channels = 3 if self.painted else len(self.classes)
        self.l1_weight = settings.l1_weight
        self.colours = Colours(len(self.classes))
        self.squared = settings.loss == "l2"
        self.discriminator = PatchDiscriminator() if settings.loss == "adversarial" else None
        self.class_balance = settings.class_balance
        self.register_buffer("class_weights", None)

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return class scores (N, classes, H, W), or if `painted` label maps as pictures (N, 3, H, W) in [0, 1]."""
        return output.float().sigmoid() if self.painted else output.float()

    def scores(self, prediction: Tensor) -> Tensor:
        """Return class scores (N, classes, H, W) for predictions of this task, painted or not."""
        return self.colours.scores(prediction) if self.painted else prediction

    def use_training_data(self, prepared: Prepared) -> None:
        """Set the weights of classes from their fractions of the training pixels; a class without pixels has 0."""
        if self.class_balance:
            shares = prepared.class_shares("train")
            fractions = torch.tensor([shares[name] for name in self.classes])
            weights = torch.where(fractions > 0, fractions.clamp(min=1e-9) ** -self.class_balance, 0)
            self.class_weights = balanced(fractions, weights)

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``: the mean cross-entropy or colour distance over valid pixels; zero without valid pixels.

        The mean is weighted if classes have weights.

        With an adversarial loss, ``loss`` is the sum of ``adversarial_loss`` and the weighted ``l1_loss``.
        """
        target = batch["target"].long()
        counted = target != IGNORED
        number = counted.sum().clamp(min=1)
        if not self.painted:
            weights = self.class_weights
            if weights is not None:
                number = (weights[target.where(counted, 0)] * counted).sum().clamp(min=1e-6)
            total = F.cross_entropy(prediction, target, weights, ignore_index=IGNORED, reduction="sum")
            return {"loss": total / number}
        painted = self.colours.paint(target)
        difference = prediction - painted
        distance = difference.square() if self.squared else difference.abs()
        loss = (distance.mean(1) * counted).sum() / number
        if self.discriminator is None:
            return {"loss": loss}
        filled = self.fill_ignored(prediction, painted, counted)
        adversarial = self.discriminator.adversarial_loss(self.inputs(batch), filled)
        return {"loss": adversarial + self.l1_weight * loss, "adversarial_loss": adversarial, "l1_loss": loss}

    def discriminator_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the discriminator's loss for the true label maps and the predictions, a scalar."""
        assert self.discriminator is not None
        target = batch["target"].long()
        painted = self.colours.paint(target)
        filled = self.fill_ignored(prediction, painted, target != IGNORED)
        return self.discriminator.loss(self.inputs(batch), painted, filled)

    @staticmethod
    def fill_ignored(prediction: Tensor, painted: Tensor, counted: Tensor) -> Tensor:
        """Return predictions with the truth at ignored pixels, so that the discriminator cannot use these pixels.

        ``counted``, bool (N, H, W), is False at ignored pixels.
        """
        return torch.where(counted[:, None], prediction, painted)

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of classes drawn by their scores, summed over valid pixels.

        Without cross-entropy, pictures are drawn around the predictions.
        """
        counted = batch["target"] != IGNORED
        if self.painted:
            return sampled_loss(prediction, self.colours.paint(batch["target"].long()), counted)
        scores = prediction.detach()
        gumbel = (
            -torch.empty_like(scores).exponential_().log()
        )  # argmax of score + Gumbel noise samples the softmax
        drawn = (scores + gumbel).argmax(1)
        return (F.cross_entropy(prediction, drawn, reduction="none") * counted).sum()

    def distillation(self, predicted: Tensor, expected: Tensor, temperature: float) -> Tensor:
        """Return the Kullback-Leibler divergence at a temperature, mean over pixels, times the temperature squared.

        Without cross-entropy, return the distance of `Task.distillation`.

        Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
        """
        if self.painted:
            return super().distillation(predicted, expected, temperature)
        now, before = ((scores / temperature).log_softmax(1) for scores in (predicted, expected))
        divergence = F.kl_div(now, before, reduction="none", log_target=True).sum(1).mean()
        return temperature**2 * divergence

    def meter(self) -> Meter:
        """Return a meter of the mean intersection over union."""
        return ConfusionMeter(self.classes, self.scores)

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the baseline: a function that predicts the most frequent class of the training data everywhere."""
        assert training_targets is not None
        counts = np.zeros(256, np.int64)
        for labels in training_targets:
            counts += np.bincount(labels.reshape(-1), minlength=256)
        most_frequent = int(counts[: len(self.classes)].argmax())
        scores = F.one_hot(torch.tensor(most_frequent), len(self.classes)).float()[:, None, None]
        if self.painted:
            scores = self.colours.paint(torch.full((1, 1, 1), most_frequent))[0]
        return everywhere(scores)

    def paint(self, prediction: Tensor) -> Pixels:
        """Return the predicted label maps as pictures in the colours of VOC, uint8 (N, H, W, 3)."""
        return paint_labels(self.labels(prediction))

    def label_tensor(self, prediction: Tensor) -> Tensor:
        """Return the class with the largest score at each pixel, uint8 (N, H, W)."""
        return self.scores(prediction).argmax(1).to(torch.uint8)

    def paint_target(self, batch: Batch) -> Pixels:
        """Return the true label maps as pictures in the colours of VOC; ignored pixels are pale cream."""
        return paint_labels(batch["target"].cpu().numpy())


class ConfusionMeter:
    """Meter of the intersection over union, from one confusion matrix of all pixels of a split."""

    def __init__(self, classes: Sequence[str], scores: Callable[[Tensor], Tensor]) -> None:
        self.classes = classes
        self.scores = scores
        self.confusions: list[NDArray[np.float64]] = []
        """Confusion matrices of the pictures, (N, classes, classes) for each batch."""

    @property
    def units(self) -> int:
        """Number of pictures so far."""
        return sum(map(len, self.confusions))

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add the predictions of one batch."""
        predicted = self.scores(prediction).argmax(1).to(torch.uint8).cpu().numpy()
        pairs = zip(batch["target"].cpu().numpy(), predicted, strict=True)
        matrices = [confusion_matrix(truth, labels, len(self.classes)) for truth, labels in pairs]
        self.confusions.append(np.stack(matrices).astype(np.float64))

    def compute(self, sample: Sample | None = None) -> dict[str, float]:
        """Return ``miou`` and, for each class that occurs in the truth, ``iou/<class>``, in per cent."""
        self.confusions = [np.concatenate(self.confusions)]  # once, not for every sample
        (matrices,) = self.confusions
        counts = np.bincount(np.arange(self.units) if sample is None else sample, minlength=self.units)
        products = counts.astype(np.float64) @ matrices.reshape(self.units, -1)  # exact, and BLAS has no integers
        confusion = products.reshape(matrices.shape[1:]).astype(np.int64)
        ious = intersection_over_union(confusion)
        per_class = {
            f"iou/{name}": 100 * float(value)
            for name, value in zip(self.classes, ious, strict=True)
            if not np.isnan(value)
        }
        return {"miou": mean_iou(confusion), **per_class}
