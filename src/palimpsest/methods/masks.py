"""Masks of one bit per weight: a parametrization over frozen convolutions, and its packed form.

While a task is learned each weight w has a real-valued score s, and the layer computes with w · [s > threshold].
The step function has no useful derivative, so its gradient is passed on unchanged (straight-through): with g
the gradient of the masked weight, the score receives g · w. Stored is one bit per weight.
Source: Mallya, Davis and Lazebnik, Piggyback, ECCV 2018, equations 2 to 4.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from palimpsest.errors import StorageError
from palimpsest.settings import MaskSettings


class _Step(torch.autograd.Function):
    """[score > threshold] as 0 or 1; the gradient passes as if the function were the identity."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, threshold: float) -> Tensor:
        return (score > threshold).to(score.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class BinaryMask(nn.Module):
    """Parametrization weight → weight · [score > threshold], with a score that can be trained."""

    def __init__(self, score: Tensor, threshold: float) -> None:
        super().__init__()
        self.score = nn.Parameter(score)
        self.threshold = threshold

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; the same shape."""
        masked: Tensor = weight * _Step.apply(self.score, self.threshold)
        return masked

    @property
    def bits(self) -> Tensor:
        """The mask, bool in the shape of the weight."""
        return self.score.detach() > self.threshold


def initial_scores(weight: Tensor, settings: MaskSettings) -> Tensor:
    """The scores with which a mask of ones starts, in the shape of the weight.

    Constant as in the original, or as far above the threshold as the weight's magnitude is in its layer. Adam
    moves every score at the same pace, whatever its gradient: with a constant start, large weights are lost as
    soon as small ones. The smallest weights start a hair above the threshold, so that the mask is all ones.
    """
    room = settings.initial_score - settings.threshold
    if settings.start == "constant":
        return torch.full_like(weight, settings.initial_score)
    magnitude = weight.abs()
    share = magnitude / magnitude.mean().clamp(min=torch.finfo(weight.dtype).tiny)
    return settings.threshold + room * share.clamp(min=1e-3)


class FixedMask(nn.Module):
    """Parametrization weight → weight · mask with a mask that was learned before."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; the same shape. Multiplies as training does, so that the result is the same bit for bit."""
        return weight * self.mask.to(weight.dtype)


def mask_layer(layer: nn.Module, mask: nn.Module) -> None:
    """Lay a mask over a layer's weight. `unmask_layer` gives the weight back bit for bit."""
    parametrize.register_parametrization(layer, "weight", mask, unsafe=True)


def unmask_layer(layer: nn.Module) -> None:
    """Take a mask off a layer, whose weight is then what it was before."""
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def learned_mask(layer: nn.Module) -> Tensor:
    """The mask that a layer has learned, bool in the shape of its weight."""
    (mask,) = (module for module in layer.modules() if isinstance(module, BinaryMask))
    return mask.bits


def pack(mask: Tensor) -> Tensor:
    """A bool mask as bits, eight in a byte, first weight in the highest bit: uint8 (⌈weights / 8⌉,)."""
    return torch.from_numpy(np.packbits(mask.contiguous().cpu().numpy().reshape(-1)))


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """The bool mask in the shape of the weight that `pack` took.

    Raises:
        StorageError: there are fewer or more bytes than the weights need.
    """
    if bits.numel() != -(-shape.numel() // 8):
        raise StorageError(f"expected a mask of {-(-shape.numel() // 8)} bytes, found {bits.numel()}")
    flat = np.unpackbits(bits.cpu().numpy(), count=shape.numel())
    return torch.from_numpy(flat.astype(np.bool_)).reshape(shape)
