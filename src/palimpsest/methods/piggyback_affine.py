"""`piggyback-affine`: a mask and an affine function of the base's weights in each layer.

Idea: a mask only removes weights; four scalars per layer also keep, shift and add to them. Formula: k₀·W + k₁·1
+ k₂·M + k₃·(W ∘ M). Trained: scores and scalars of each layer, BatchNorm, head. Stored: one bit per weight and four
numbers per layer. Forgets: nothing. Source: Mancini, Ricci, Caputo and Rota Bulò, Boosting Binary Masks for
Multi-Domain Learning through Affine Transformations, Machine Vision and Applications 2020; without the last term
Adding New Tasks to a Single Network with Weight Transformations using Binary Masks, ECCV Workshops 2018.
Deliberately different: k₀ trains (in the authors' code it is 1); scores train as in `piggyback` (original: with a
sigmoid's gradient); the scalars start at (0, 0, 0, 1), a plain mask, because from k₂ = k₃ = 0 the scores' gradient
is zero until one of them changes; k₁ and k₂ train in units of the standard deviation of their layer's weights.
"""

import torch
from torch import Tensor, nn

from palimpsest.methods.base import MASK, Component, ParameterGroup, Start
from palimpsest.methods.masks import BinaryMask, initial_scores
from palimpsest.methods.masks_settings import AffineMaskSettings
from palimpsest.methods.piggyback import Piggyback
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, split_entry
from palimpsest.networks.trunk import Layer

SMALLEST = 1e-6
"""Smallest standard deviation of a layer's weights."""


class AffineMask(BinaryMask):
    """Parametrization of one layer by an affine function of weight and mask, with trainable scores and scalars."""

    units: Tensor
    """Values of k₀, k₁, k₂ and k₃ for which `learned` is 1."""

    def __init__(self, weight: Tensor, settings: AffineMaskSettings) -> None:
        super().__init__(initial_scores(weight, settings), settings)
        # Adam moves all scalars by similar steps: without the unit, k₁ and k₂ would soon be as large as the weights
        deviation = weight.std().clamp(min=SMALLEST)
        unit = torch.ones_like(deviation)
        self.register_buffer("units", torch.stack([unit, deviation, deviation, unit]))
        self.learned = nn.Parameter(weight.new_tensor(settings.initial_scalars) / self.units)

    @property
    def scalars(self) -> Tensor:
        """Tensor of k₀, k₁, k₂ and k₃."""
        return self.learned * self.units

    def forward(self, weight: Tensor) -> Tensor:
        """Return the affine function of the weight; both terms with the mask pass gradients to the scores."""
        return affine(weight, super().forward(torch.ones_like(weight)), super().forward(weight), self.scalars)

    def stored(self) -> dict[str, Tensor]:
        """Return the packed mask as ``mask``, and k₀, k₁, k₂ and k₃ as ``scalars``."""
        return {**super().stored(), "scalars": self.scalars.detach()}


class PiggybackAffine(Piggyback):
    """Method that learns a binary mask and four scalars per layer."""

    settings: AffineMaskSettings
    entries = ("mask", "scalars")
    writer = Reparametrised.writer

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a mask of ones with the initial scalars of the settings."""
        return AffineMask(layer.weight.detach(), self.settings)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return two groups: the scores, and the scalars at the learning rate of weights."""
        scalars = [module.get_parameter("learned") for module in modules]
        return [*super().groups(modules, start), ParameterGroup("scalars", scalars, start.training.learning_rate)]

    def store(self, network: nn.Module) -> list[Component]:
        """Return masks and scalars as separate components, with normalisation and head."""
        component, *task = super().store(network)
        masks, scalars = split_entry(component.tensors, "scalars")
        return [Component(MASK, masks), Component("scalars", scalars), *task]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the affine function of the base's weight with the stored mask and scalars."""
        mask, masked = (
            super(PiggybackAffine, self).weight(layer, of, stored) for of in (torch.ones_like(base), base)
        )
        return affine(base, mask, masked, stored["scalars"])


def affine(weight: Tensor, mask: Tensor, masked: Tensor, scalars: Tensor) -> Tensor:
    """Return k₀ · weight + k₁ + k₂ · mask + k₃ · masked, bit for bit the same in training and after loading."""
    return scalars[0] * weight + scalars[1] + scalars[2] * mask + scalars[3] * masked
