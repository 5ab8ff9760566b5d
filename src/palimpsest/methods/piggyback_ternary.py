"""`piggyback-ternary`: masks of −1, 0 and 1: a weight may be taken, left out, or turned round.

Idea: the sign of a weight is worth as much as its presence. Formula: w ∘ ([s > t] − [s < −t]), the scores s
trained straight-through, as with `piggyback`. Trained: one score per weight, BatchNorm, head. Stored: two bits
per weight, one for "taken or turned round", one for "turned round". Forgets: nothing. Source: Mallya et al.,
ECCV 2018, where ternary masks are found as good as binary ones.
Deliberately different: as `piggyback` says of itself; and a weight is turned round below −t (the original code:
below 0), so that it is left out on a way twice as long.
"""

from typing import Any

import torch
from torch import Tensor

from palimpsest.methods.base import Start
from palimpsest.methods.masks import BinaryMask, initial_scores, pack, unpack
from palimpsest.methods.piggyback import Piggyback
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised
from palimpsest.networks.trunk import Layer


class _Signed(torch.autograd.Function):
    """weight · ([score > threshold] − [score < −threshold]); the score's gradient is that times weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, score: Tensor, threshold: float) -> Tensor:
        ctx.save_for_backward(weight)
        return torch.where(score > threshold, weight, torch.where(score < -threshold, -weight, 0.0))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        (weight,) = ctx.saved_tensors
        return None, gradient * weight, None


class TernaryMask(BinaryMask):
    """weight → weight, 0 or −weight, with a score that can be trained."""

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; the same shape."""
        masked: Tensor = _Signed.apply(weight, self.score, self.settings.threshold)
        return masked

    def stored(self) -> dict[str, Tensor]:
        """Two bits for each weight."""
        score, threshold = self.score.detach(), self.settings.threshold
        return {"taken": pack(score.abs() > threshold), "turned": pack(score < -threshold)}


class PiggybackTernary(Piggyback):
    """Ternary masks over the base's frozen weights."""

    entries = ("taken", "turned")
    write = Reparametrised.write

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a mask that starts as all ones."""
        return TernaryMask(initial_scores(layer.weight.detach(), self.settings), self.settings)

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight, turned round or left out where the mask says so."""
        taken, turned = (unpack(stored[key], base.shape) for key in self.entries)
        return torch.where(taken, torch.where(turned, -base, base), 0.0)
