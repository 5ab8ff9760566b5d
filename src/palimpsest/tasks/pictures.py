"""Losses and metrics of kinds with pictures as predictions and targets."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from palimpsest.metrics import pictures as metrics
from palimpsest.metrics.bootstrap import Sample
from palimpsest.tasks.base import SMALLEST_VARIANCE, Batch

LOSSES: dict[str, Callable[..., Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss}
"""Distances of predictions to targets, by the value of the setting `loss`."""


def balanced(fractions: Tensor, weights: Tensor) -> Tensor:
    """Return weights scaled so that their mean over pixels is 1; ``fractions`` are the fractions of the pixels."""
    return weights / (weights * fractions).sum() * fractions.sum()


def sampled_loss(prediction: Tensor, truth: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return the negative log-likelihood, summed over pixels, of pictures drawn from a Gaussian around predictions.

    The variance is the mean squared error between prediction and truth, both (N, C, H, W): its maximum-likelihood
    estimate. Constants are omitted. ``counted``, bool (N, H, W), selects the pixels that count; None means all.
    """
    centre = prediction.detach()
    weights = torch.ones_like(centre) if counted is None else counted[:, None].expand_as(centre).float()
    variance = ((centre - truth).square() * weights).sum() / weights.sum().clamp(min=1)
    variance = variance.clamp(min=SMALLEST_VARIANCE)
    drawn = centre + variance.sqrt() * torch.randn_like(centre)
    return 0.5 * ((prediction - drawn).square() * weights).sum() / variance


class PictureMeter:
    """Meter of the mean over all pictures of a split of each picture's metrics."""

    def __init__(self, truth: Callable[[Batch], Tensor], colour: bool) -> None:
        self.truth = truth
        self.colour = colour
        self.rows: list[dict[str, float]] = []

    @property
    def units(self) -> int:
        """Number of pictures so far."""
        return len(self.rows)

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add the predictions of one batch."""
        for predicted, true in zip(as_pictures(prediction), as_pictures(self.truth(batch)), strict=True):
            row = {"ssim": metrics.ssim(predicted, true), "mse": metrics.mse(predicted, true)}
            if self.colour:
                row["ciede2000"] = metrics.ciede2000(predicted, true)
                row["predicted"], row["true"] = metrics.colourfulness(predicted), metrics.colourfulness(true)
            self.rows.append(row)

    def compute(self, sample: Sample | None = None) -> dict[str, float]:
        """Return ``ssim``, ``mse`` (0–255 scale) and, with ``colour``, ``ciede2000`` and ``colourfulness``.

        Colourfulness is the sum over the predictions divided by the sum over the true pictures; the few pictures
        with hardly any colour would dominate a mean of ratios.
        """
        rows = self.rows if sample is None else [self.rows[index] for index in sample]
        means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        if self.colour:
            predicted, true = means.pop("predicted"), means.pop("true")
            means["colourfulness"] = predicted / true if true else math.nan  # a sample may have only grey pictures
        return means


def as_pictures(tensor: Tensor) -> NDArray[np.float32]:
    """Return pictures (N, 3, H, W) in [0, 1] as float32 (N, H, W, 3), rounded to 8 bits as in a picture file."""
    pictures: NDArray[np.float32] = ((tensor.clamp(0, 1) * 255).round() / 255).permute(0, 2, 3, 1).cpu().numpy()
    return pictures
