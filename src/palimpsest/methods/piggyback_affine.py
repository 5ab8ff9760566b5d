"""`piggyback-affine`: a mask whose layers are, in addition, an affine function of the base's weights.

Idea: a mask can only take away; three scalars per layer let it also keep and shift what it masks. Formula: k₀·W
+ k₁·1 + k₂·(W ∘ M). Trained: scores and scalars of each layer, BatchNorm, head. Stored: one bit per weight and
three numbers per layer. Forgets: nothing. Source: Mancini, Ricci, Caputo and Rota Bulò, Adding New Tasks to a
Single Network with Weight Transformations using Binary Masks, ECCV Workshops 2018.
Deliberately different: the scores are trained as `piggyback` trains them here (there: a sigmoid's gradient),
the start is (0, 0, 1), a plain mask: from (1, 0, 0) the scores' gradient is zero until k₂ has left zero; and k₁ is
learned in units of the standard deviation of its layer's weights.
"""

import torch
from torch import Tensor, nn

from palimpsest.methods.base import MASK, Component, ParameterGroup, Start
from palimpsest.methods.masks import BinaryMask, initial_scores
from palimpsest.methods.masks_settings import AffineMaskSettings
from palimpsest.methods.piggyback import Piggyback
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, parted
from palimpsest.networks.trunk import Layer

SMALLEST = 1e-6
"""Smallest standard deviation of a layer's weights."""


class AffineMask(BinaryMask):
    """weight → k₀ · weight + k₁ + k₂ · masked weight."""

    units: Tensor

    def __init__(self, weight: Tensor, settings: AffineMaskSettings) -> None:
        super().__init__(initial_scores(weight, settings), settings)
        # in its own unit k₁ would soon be as large as the weights: Adam moves all three by as much
        deviation = weight.std().clamp(min=SMALLEST)
        one = torch.ones_like(deviation)
        self.register_buffer("units", torch.stack([one, deviation, one]))
        self.learned = nn.Parameter(weight.new_tensor(settings.initial_scalars) / self.units)

    @property
    def scalars(self) -> Tensor:
        """k₀, k₁ and k₂."""
        return self.learned * self.units

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; the same shape."""
        return affine(weight, super().forward(weight), self.scalars)

    def stored(self) -> dict[str, Tensor]:
        """Return the mask, packed, and the scalars."""
        return {**super().stored(), "scalars": self.scalars.detach()}


class PiggybackAffine(Piggyback):
    """Masks with three scalars per layer."""

    entries = ("mask", "scalars")
    write = Reparametrised.write

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a mask of ones, and the scalars of the settings."""
        return AffineMask(layer.weight.detach(), self.settings)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the scores, and the scalars at the pace of weights."""
        scalars = [module.get_parameter("learned") for module in modules]
        return [*super().groups(modules, start), ParameterGroup("scalars", scalars, start.training.learning_rate)]

    def store(self, network: nn.Module) -> list[Component]:
        """Return the masks, and the scalars as a component of their own."""
        mine, *rest = super().store(network)
        masks, scalars = parted(mine.tensors, "scalars")
        return [Component(MASK, masks), Component("scalars", scalars), *rest]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the affine function of the base's weight and of what the mask leaves of it."""
        return affine(base, super().weight(layer, base, stored), stored["scalars"])


def affine(weight: Tensor, masked: Tensor, scalars: Tensor) -> Tensor:
    """k₀ · weight + k₁ + k₂ · masked, in one order of operations while learned and when recalled."""
    return scalars[0] * weight + scalars[1] + scalars[2] * masked
