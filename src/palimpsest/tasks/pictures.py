"""Losses and metrics of the kinds whose prediction and target are pictures."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from palimpsest.metrics import pictures as metrics
from palimpsest.tasks.base import SMALLEST_VARIANCE, Batch

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss}


def sampled_loss(prediction: Tensor, truth: Tensor, counted: Tensor | None = None) -> Tensor:
    """Gaussian: minus the log-likelihood of a picture drawn around the prediction, the sum over pixels.

    Its variance is the mean squared error against the truth, the likeliest there is; constants are left out.
    Where ``counted`` (N, H, W) is given, the other pixels are left out of both.
    """
    centre = prediction.detach()
    places = torch.ones_like(centre) if counted is None else counted[:, None].expand_as(centre).float()
    variance = ((centre - truth).square() * places).sum() / places.sum().clamp(min=1)
    variance = variance.clamp(min=SMALLEST_VARIANCE)
    drawn = centre + variance.sqrt() * torch.randn_like(centre)
    return 0.5 * ((prediction - drawn).square() * places).sum() / variance


class PictureMeter:
    """Means of per-picture metrics over a split."""

    def __init__(self, truth: Callable[[Batch], Tensor], colour: bool) -> None:
        self.truth = truth
        self.colour = colour
        self.rows: list[dict[str, float]] = []

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Measure each picture of a batch."""
        for found, true in zip(as_pictures(prediction), as_pictures(self.truth(batch)), strict=True):
            row = {"ssim": metrics.ssim(found, true), "mse": metrics.mse(found, true)}
            if self.colour:
                row["ciede2000"] = metrics.ciede2000(found, true)
                row["found"], row["true"] = metrics.colourfulness(found), metrics.colourfulness(true)
            self.rows.append(row)

    def compute(self) -> dict[str, float]:
        """``ssim``, ``mse`` (0–255 scale) and, for colour, ``ciede2000`` and ``colourfulness``.

        Colourfulness is the sum over the predictions divided by the sum over the true pictures: a mean of
        ratios would be ruled by the few pictures that hardly have colour.
        """
        means = {key: float(np.mean([row[key] for row in self.rows])) for key in self.rows[0]}
        if self.colour:
            means["colourfulness"] = means.pop("found") / means.pop("true")
        return means


def as_pictures(tensor: Tensor) -> NDArray[np.float32]:
    """Tensor (N, 3, H, W) in [0, 1] as float32 array (N, H, W, 3), rounded to 8 bits as a saved picture is."""
    pictures: NDArray[np.float32] = ((tensor.clamp(0, 1) * 255).round() / 255).permute(0, 2, 3, 1).cpu().numpy()
    return pictures
