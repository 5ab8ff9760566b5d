"""`bitdelta`: a change of one bit per weight, added to the base's weights.

Idea: the sign of each weight's change in fine-tuning and one magnitude per filter are enough. Formula: w + scale ·
sign(δ), one scale per output channel; with the setting ``threshold``, 0 where |δ| is below a multiple of its
channel's mean. Trained: δ, for a share of the steps as plain fine-tuning from the base, then with the scales
through the quantisation (straight-through: δ receives the gradient of scale · sign(δ) unchanged); BatchNorm, head.
Stored: one bit per weight and the scales; with a threshold, one bit per weight and one more for each weight that is
not zero. Forgets: nothing.
Source: Liu et al., BitDelta, NeurIPS 2024; the ternary rule: Li and Liu, Ternary Weight Networks, 2016.
Deliberately different: one scale per output channel (original: one per matrix of a language model); signs and
scales train through the quantisation (original: signs are those after fine-tuning, and only scales are distilled).
"""

from typing import Any

import torch
from torch import Tensor, nn

from palimpsest.methods.base import ParameterGroup, Start
from palimpsest.methods.bitdelta_settings import BitDeltaSettings
from palimpsest.methods.masks import pack, unpack
from palimpsest.methods.reparametrised import (
    LayerTensors,
    LayerWeight,
    Reparametrised,
    modules_group,
    parametrization_of,
)
from palimpsest.networks.trunk import Layer, output_channels, trunk_layers


class _Quantised(torch.autograd.Function):
    """Function of δ with the value scale · direction of δ (−1, 0 or 1); δ receives the gradient unchanged."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, scale: Tensor, directions: Tensor) -> Tensor:
        ctx.save_for_backward(scale, directions)
        return scale * directions

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        scale, directions = ctx.saved_tensors
        return gradient, (gradient * directions).sum_to_size(scale.shape), None


class QuantisedDelta(LayerWeight):
    """Parametrization of one layer: weight + δ, and after `quantise` weight + scale · direction of δ."""

    quantised: Tensor
    """Scalar bool: True after `quantise`. A buffer, so that checkpoints contain it."""

    def __init__(self, weight: Tensor, channel_dim: int, settings: BitDeltaSettings) -> None:
        super().__init__()
        self.settings = settings
        self.delta = nn.Parameter(torch.zeros_like(weight))
        self.filter_dims = [dimension for dimension in range(weight.ndim) if dimension != channel_dim]
        self.scale = nn.Parameter(torch.zeros_like(weight.sum(dim=self.filter_dims, keepdim=True)))
        self.register_buffer("quantised", torch.zeros((), dtype=torch.bool, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight plus its change, in the shape of the weight."""
        if self.quantised:
            added: Tensor = _Quantised.apply(self.delta, self.scale, self.directions())
            return weight + added
        # 0 · scale gives every parameter a gradient; training on several devices waits for all of them
        return weight + self.delta + 0 * self.scale

    @torch.no_grad()
    def directions(self) -> Tensor:
        """Return the direction of δ for each weight: −1 or 1, with a threshold also 0."""
        signs = torch.where(self.delta >= 0, 1.0, -1.0)
        if not self.settings.threshold:
            return signs
        magnitude = self.delta.abs()
        return signs * (magnitude > self.settings.threshold * magnitude.mean(dim=self.filter_dims, keepdim=True))

    @torch.no_grad()
    def quantise(self) -> None:
        """Replace δ by scale · direction from now on; the scale is a channel's mean |δ| over nonzero directions."""
        directions = self.directions()
        count = directions.abs().sum(dim=self.filter_dims, keepdim=True).clamp(min=1)
        self.scale.copy_((self.delta * directions).sum(dim=self.filter_dims, keepdim=True) / count)
        self.quantised.fill_(True)

    def stored(self) -> dict[str, Tensor]:
        """Return scales and packed signs of nonzero directions; with a threshold, also their packed positions."""
        directions = self.directions()
        nonzero = directions != 0
        ternary = {"mask": pack(nonzero)} if self.settings.threshold else {}
        return {"sign": pack(directions[nonzero] > 0), "scale": self.scale.detach(), **ternary}


class BitDelta(Reparametrised):
    """Method that adds a sign per weight times a scale per channel to the base's weights."""

    settings: BitDeltaSettings
    component = "delta"

    @property
    def entries(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the signs, the scales and, with a threshold, the positions of nonzero directions."""
        return ("sign", "scale", "mask") if self.settings.threshold else ("sign", "scale")

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a parametrization with δ = 0."""
        return QuantisedDelta(layer.weight.detach(), output_channels(layer), self.settings)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return δ and scales as one group, at the learning rate of weights."""
        return [modules_group("changes", modules, start)]

    def after_step(self, network: nn.Module, progress: float) -> None:
        """Quantise all layers once, as soon as ``progress`` reaches the setting `quantised_after`."""
        if progress < self.settings.quantised_after:
            return
        for _, layer in trunk_layers(network):
            delta = parametrization_of(layer)
            assert isinstance(delta, QuantisedDelta)
            if not delta.quantised:
                delta.quantise()

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight plus the stored change."""
        all_weights = torch.ones_like(base, dtype=torch.bool)
        nonzero = unpack(stored["mask"], base.shape) if self.settings.threshold else all_weights
        signs = torch.where(unpack(stored["sign"], torch.Size([int(nonzero.sum())])), 1.0, -1.0)
        directions = torch.zeros_like(base).masked_scatter(nonzero, signs)
        return base + stored["scale"] * directions
