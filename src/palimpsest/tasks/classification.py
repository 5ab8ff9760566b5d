"""Photograph → one class, that of the largest labelled area, measured by accuracy.

Class scores are means over all pixels of the network's output. The predicted picture has the colour of the class at
every pixel. The kind exists to compare masks for classification with masks for translation.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from palimpsest.metrics.bootstrap import Sample
from palimpsest.metrics.segmentation import IGNORED
from palimpsest.tasks.base import Batch, Meter, Pixels, Targets, Task
from palimpsest.tasks.classification_settings import ClassificationSettings
from palimpsest.tasks.label_maps import everywhere, paint_labels


class ClassificationTask(Task):
    """Classification of photographs by the class that covers most of their pixels; class 0 is the background.

    A photograph has class 0 only without pixels of any other class. Ignored pixels do not count.
    """

    working_scale = "trained"
    classes: list[str]

    def __init__(self, name: str, settings: ClassificationSettings) -> None:
        super().__init__(name, settings)
        self.classes = ["background", *settings.classes]
        self.head_channels = len(self.classes)

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean class scores of each photograph, the same at all pixels: (N, classes, H, W)."""
        scores = output.float().mean((2, 3), keepdim=True)
        return scores.expand(-1, -1, *batch["picture"].shape[2:])

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``: the mean cross-entropy over photographs."""
        return {"loss": F.cross_entropy(prediction[:, :, 0, 0], self.targets(batch["target"]))}

    def targets(self, labels: Tensor) -> Tensor:
        """Return the class of each label map, int64 (N,), from labels (N, H, W)."""
        one_hot = F.one_hot(labels.long().where(labels != IGNORED, 0), len(self.classes))
        areas = one_hot[..., 1:].sum((1, 2))
        return torch.where(areas.any(1), areas.argmax(1) + 1, 0)

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of classes drawn by their scores, summed over photographs."""
        scores = prediction[:, :, 0, 0]
        drawn = scores.detach().softmax(1).multinomial(1)[:, 0]
        return F.cross_entropy(scores, drawn, reduction="sum")

    def distillation(self, predicted: Tensor, expected: Tensor, temperature: float) -> Tensor:
        """Return the Kullback-Leibler divergence at a temperature, mean over photographs, times its square."""
        now, before = ((of[:, :, 0, 0] / temperature).log_softmax(1) for of in (predicted, expected))
        return temperature**2 * F.kl_div(now, before, reduction="batchmean", log_target=True)

    def meter(self) -> Meter:
        """Return a meter of the accuracy."""
        return AccuracyMeter(self.classes, self.targets)

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the baseline: a function that predicts the most frequent class of the training photographs."""
        assert training_targets is not None
        counts = np.zeros(len(self.classes), np.int64)
        for labels in training_targets:
            counts[int(self.targets(torch.from_numpy(np.array(labels))[None]))] += 1
        return everywhere(F.one_hot(torch.tensor(int(counts.argmax())), len(self.classes)).float()[:, None, None])

    def paint(self, prediction: Tensor) -> Pixels:
        """Return pictures in the colour of the predicted class, uint8 (N, H, W, 3)."""
        return paint_labels(self.labels(prediction))

    def label_tensor(self, prediction: Tensor) -> Tensor:
        """Return the class with the largest score at every pixel, uint8 (N, H, W)."""
        return prediction.argmax(1).to(torch.uint8)

    def paint_target(self, batch: Batch) -> Pixels:
        """Return pictures in the colour of the true class, uint8 (N, H, W, 3)."""
        labels = self.targets(batch["target"]).to(torch.uint8)[:, None, None].expand_as(batch["target"])
        return paint_labels(labels.cpu().numpy())


class AccuracyMeter:
    """Meter of the share of photographs whose class is predicted, in all and by true class."""

    def __init__(self, classes: Sequence[str], targets: Callable[[Tensor], Tensor]) -> None:
        self.classes = classes
        self.targets = targets
        self.pairs: list[NDArray[np.int64]] = []
        """True and predicted class of the photographs, (N, 2) for each batch."""

    @property
    def units(self) -> int:
        """Number of photographs so far."""
        return sum(map(len, self.pairs))

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add the predictions of one batch."""
        predicted, truth = prediction[:, :, 0, 0].argmax(1), self.targets(batch["target"])
        self.pairs.append(torch.stack([truth, predicted], 1).cpu().numpy())

    def compute(self, sample: Sample | None = None) -> dict[str, float]:
        """Return ``accuracy`` and, for each class that occurs, ``accuracy/<class>``, in per cent."""
        pairs = np.concatenate(self.pairs)
        chosen = pairs if sample is None else pairs[sample]
        right = chosen[:, 0] == chosen[:, 1]
        per_class = {
            f"accuracy/{name}": 100 * float(right[chosen[:, 0] == number].mean())
            for number, name in enumerate(self.classes)
            if (chosen[:, 0] == number).any()
        }
        return {"accuracy": 100 * float(right.mean()), **per_class}
