"""Changes of weights by the integers of `coded`: the formula, its terms, and the weights that have integers."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

TINY = 1e-12
"""Lower bound of a root mean square."""
Change = tuple[Tensor, Tensor]
"""Step size of a stream, scalar, and its integers."""


def smallest_covered(weights: Sequence[Tensor], share: float) -> float:
    """Return the magnitude of the smallest of the largest weights, which are this share of all.

    For a share of 0 it is the largest number of float32, because files contain finite numbers alone.
    """
    if share in (0, 1):
        return 0.0 if share else torch.finfo(torch.float32).max
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights])
    rank = min(len(magnitudes), round((1 - share) * len(magnitudes)) + 1)
    return float(magnitudes.kthvalue(rank).values)


def covered(weight: Tensor, smallest: float) -> Tensor:
    """Return the positions of the weights of at least this magnitude, int64 (n,)."""
    chosen = weight.abs().flatten() >= smallest
    if chosen.device.type == "cpu":  # NumPy takes an eighth of the time
        return torch.from_numpy(np.flatnonzero(chosen.numpy()))
    return chosen.nonzero()[:, 0]


def kernel_change(mean: Change, scale: Change, deviation: Tensor, shapes: Tensor) -> Tensor:
    """Return the change of kernels; training and loading both use it, so that the bits are equal."""
    return deviation * (mean[0] * mean[1] + scale[0] * scale[1] * shapes)


def weight_change(change: Change, weights: Tensor) -> Tensor:
    """Return the change of single weights of the base; see `kernel_change`.

    It is relative to the weight with its sign: an integer of −1 brings positive and negative weights nearer to 0.
    Negative integers are then more frequent than positive ones, which makes their code shorter.
    """
    return change[0] * (weights * change[1])


def deviations(weight: Tensor, channel_dim: int) -> Tensor:
    """Return the root mean square of each filter, with sides of 1 but for output channels, ``channel_dim``.

    Sums are in float64, so that their order hardly ever changes the result in float32.
    """
    others = [dimension for dimension in range(weight.ndim) if dimension != channel_dim]
    squares = torch.linalg.vector_norm(weight, dim=others, keepdim=True, dtype=torch.float64).square()
    number = weight.numel() // weight.shape[channel_dim]
    deviation: Tensor = (squares / number).sqrt().float().clamp(min=TINY)
    return deviation


def standardised(weight: Tensor) -> Tensor:
    """Return kernels (…, h, w), or as rows (n, offsets), each at mean 0 and standard deviation 1.

    Sums are in the order of the offsets, so that some kernels alone have the same bits as among all.
    """
    kernels = weight if weight.ndim == 2 else weight.flatten(2)
    offsets = kernels.shape[-1]
    mean = sum_in_order(kernels) / offsets
    centred = kernels - mean
    root = (sum_in_order(centred * centred) / offsets).sqrt().clamp(min=TINY)
    return (centred / root).reshape(weight.shape)


def sum_in_order(kernels: Tensor) -> Tensor:
    """Return the sum over the last dimension, which stays with a side of 1, in the order of its offsets."""
    total = torch.zeros_like(kernels[..., :1])
    for offset in range(kernels.shape[-1]):
        total = total + kernels[..., offset : offset + 1]
    return total
