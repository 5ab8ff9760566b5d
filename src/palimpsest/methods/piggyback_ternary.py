"""`piggyback-ternary`: masks of −1, 0 and 1, which keep, remove or negate a weight.

Idea: the sign of a weight matters as much as its presence. Formula: w ∘ ([s > t] − [s < −t]), with scores s trained
straight-through, as in `piggyback`. Trained: one score per weight, BatchNorm, head. Stored: two bits per weight,
one for "used" and one for "negated". Forgets: nothing. Source: Mallya et al., ECCV 2018, where ternary masks are as
good as binary masks.
Deliberately different: the differences of `piggyback`; and a weight is negated below −t (original code: below 0),
so that the range of scores that remove a weight is twice as wide.
"""

from typing import Any

import torch
from torch import Tensor

from palimpsest.methods.base import Start
from palimpsest.methods.masks import Mask, initial_scores, pack, unpack
from palimpsest.methods.piggyback import MaskMethod
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight
from palimpsest.networks.trunk import Layer


class _Signed(torch.autograd.Function):
    """Function with the value weight · ([score > threshold] − [score < −threshold]).

    The score receives the gradient times the weight.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, score: Tensor, threshold: float) -> Tensor:
        ctx.save_for_backward(weight)
        return torch.where(score > threshold, weight, torch.where(score < -threshold, -weight, 0.0))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        (weight,) = ctx.saved_tensors
        return None, gradient * weight, None


class TernaryMask(Mask):
    """Parametrization of one layer: weight, 0 or −weight by the layer's trainable scores."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        masked: Tensor = _Signed.apply(weight, self.score, self.settings.threshold)
        return masked

    def stored(self) -> dict[str, Tensor]:
        """Return two packed masks: ``mask`` for used weights, ``negated`` for negated weights."""
        score, threshold = self.score.detach(), self.settings.threshold
        return {"mask": pack(score.abs() > threshold), "negated": pack(score < -threshold)}


class PiggybackTernary(MaskMethod):
    """Method that learns a ternary mask over the base's frozen weights."""

    entries = ("mask", "negated")

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a mask of ones with trainable scores."""
        return TernaryMask(initial_scores(layer.weight.detach(), self.settings), self.settings)

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight, negated or zero according to the stored mask."""
        used, negated = (unpack(stored[key], base.shape) for key in self.entries)
        return torch.where(used, torch.where(negated, -base, base), 0.0)
