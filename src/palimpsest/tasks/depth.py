"""Photograph → depth per pixel: L1, measured by AbsRel and RMSE over pixels of known depth."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from palimpsest.metrics.bootstrap import Sample
from palimpsest.tasks.base import Batch, Meter, Pixels, Targets, Task
from palimpsest.tasks.depth_settings import DepthSettings
from palimpsest.tasks.pictures import sampled_loss
from palimpsest.tasks.viridis import viridis


class DepthTask(Task):
    """Depth estimation within a range; pixels whose target is NaN are excluded from loss and metrics."""

    working_scale = "trained"

    def __init__(self, name: str, settings: DepthSettings) -> None:
        super().__init__(name, settings)
        self.low, self.high = settings.range
        self.head_channels = 1

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return depth, float32 (N, 1, H, W) in the unit and range of the settings."""
        return self.low + (self.high - self.low) * output.float().sigmoid()

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``: mean L1 distance over valid pixels, divided by the range; zero without valid pixels."""
        valid = batch["target"].isfinite()
        distance = (prediction - filled(batch["target"], prediction)).abs().sum() / valid.sum().clamp(min=1)
        return {"loss": distance / (self.high - self.low)}

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of depths drawn around the predictions, summed over valid pixels."""
        return sampled_loss(prediction, filled(batch["target"], prediction), batch["target"].isfinite()[:, 0])

    def meter(self) -> Meter:
        """Return a meter of `absrel` and `rmse`."""
        return DepthMeter()

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the baseline: a function that predicts the mean depth of the training pictures at every pixel."""
        assert training_targets is not None
        mean = float(np.nanmean(training_targets, dtype=np.float64))

        def predict(batch: Batch) -> Tensor:
            number, _, height, width = batch["picture"].shape
            return torch.full((number, 1, height, width), mean, device=batch["picture"].device)

        return predict

    def paint(self, prediction: Tensor) -> Pixels:
        """Return depth as pictures, uint8 (N, H, W, 3), from dark (near) to bright (far); NaN is black."""
        share = ((prediction - self.low) / (self.high - self.low)).clamp(0, 1)[:, 0]
        painted: Pixels = viridis()[(share.nan_to_num() * 255).round().to(torch.uint8).cpu().numpy()]
        painted[share.isnan().cpu().numpy()] = 0
        return painted

    def paint_target(self, batch: Batch) -> Pixels:
        """Return the true depth as pictures, in the colours of `paint`."""
        return self.paint(batch["target"])


class DepthMeter:
    """Meter that sums the errors over all valid pixels of a split."""

    def __init__(self) -> None:
        self.sums: list[tuple[float, float, int]] = []
        """Sum of |prediction − truth| ÷ truth, sum of squared errors, and number of valid pixels, by picture."""

    @property
    def units(self) -> int:
        """Number of pictures so far."""
        return len(self.sums)

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add the predictions of one batch."""
        for predicted, target in zip(prediction, batch["target"], strict=True):
            valid = target.isfinite()
            truth, error = (values[valid].double() for values in (target, predicted - target))
            self.sums.append((float((error.abs() / truth).sum()), float(error.square().sum()), len(truth)))

    def compute(self, sample: Sample | None = None) -> dict[str, float]:
        """Return ``absrel``, the mean of |prediction − truth| ÷ truth, and ``rmse``, in the unit of the target.

        Source: Eigen, Puhrsch and Fergus, Depth Map Prediction from a Single Image, NIPS 2014.
        """
        sums = self.sums if sample is None else [self.sums[index] for index in sample]
        relative, squared, pixels = (sum(column) for column in zip(*sums, strict=True))
        if not pixels:  # a sample may have only pictures without valid pixels
            return {"absrel": math.nan, "rmse": math.nan}
        return {"absrel": relative / pixels, "rmse": (squared / pixels) ** 0.5}


def filled(target: Tensor, prediction: Tensor) -> Tensor:
    """Return the targets with each NaN replaced by the detached prediction, so that its distance is 0.

    A mask after the distance does not suffice: the gradient of a masked NaN is still NaN.
    """
    return torch.where(target.isfinite(), target, prediction.detach())
