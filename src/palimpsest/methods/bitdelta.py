"""`bitdelta`: one bit per weight, as a mask, but it adds to the base instead of taking away.

Idea: of what fine-tuning changes, the direction matters, and its size per filter. Formula: w + scale · sign(δ),
one scale per output channel; as a setting ternary, with 0 where |δ| is below a multiple of its channel's mean.
Trained: δ, for a share of the steps as plain fine-tuning from the base, then through the quantisation
(straight-through: the gradient of scale · sign(δ) goes to δ unchanged), with the scales; BatchNorm, head.
Stored: one bit per weight and the scales; ternary one bit more for each weight that is not zero, so that zeros
save bits. Forgets: nothing.
Source: Liu et al., BitDelta, NeurIPS 2024; the ternary rule: Li and Liu, Ternary Weight Networks, 2016.
Deliberately different: a scale for each output channel (there one for each matrix of a language model); signs and
scales train on through the quantisation (there signs are those after training, and scales alone are distilled).
"""

from typing import Any

import torch
from torch import Tensor, nn

from palimpsest.methods.base import ParameterGroup, Start
from palimpsest.methods.bitdelta_settings import BitDeltaSettings
from palimpsest.methods.masks import pack, unpack
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, learned, modules_group
from palimpsest.networks.trunk import Layer, output_channels, trunk_layers


class _Quantised(torch.autograd.Function):
    """scale · direction, where the direction of δ is −1, 0 or 1; δ receives the gradient unchanged."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, scale: Tensor, directions: Tensor) -> Tensor:
        ctx.save_for_backward(scale, directions)
        return scale * directions

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        scale, directions = ctx.saved_tensors
        return gradient, (gradient * directions).sum_to_size(scale.shape), None


class QuantisedDelta(LayerWeight):
    """weight → weight + δ, and once `quantise` was called weight + scale · direction of δ."""

    quantised: Tensor

    def __init__(self, weight: Tensor, along: int, settings: BitDeltaSettings) -> None:
        super().__init__()
        self.settings = settings
        self.delta = nn.Parameter(torch.zeros_like(weight))
        self.within = [dimension for dimension in range(weight.ndim) if dimension != along]
        self.scale = nn.Parameter(torch.zeros_like(weight.sum(dim=self.within, keepdim=True)))
        self.register_buffer("quantised", torch.zeros((), dtype=torch.bool, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; the same shape."""
        if self.quantised:
            added: Tensor = _Quantised.apply(self.delta, self.scale, self.directions())
            return weight + added
        # the scale is there so that every parameter has a gradient, which several devices wait for
        return weight + self.delta + 0 * self.scale

    @torch.no_grad()
    def directions(self) -> Tensor:
        """−1 or 1 for each weight; with a threshold also 0."""
        signs = torch.where(self.delta >= 0, 1.0, -1.0)
        if not self.settings.threshold:
            return signs
        magnitude = self.delta.abs()
        return signs * (magnitude > self.settings.threshold * magnitude.mean(dim=self.within, keepdim=True))

    @torch.no_grad()
    def quantise(self) -> None:
        """Put direction and scale in the place of δ; the scale is the mean magnitude of what is not zero."""
        directions = self.directions()
        taken = directions.abs().sum(dim=self.within, keepdim=True).clamp(min=1)
        self.scale.copy_((self.delta * directions).sum(dim=self.within, keepdim=True) / taken)
        self.quantised.fill_(True)

    def stored(self) -> dict[str, Tensor]:
        """Scales, signs of what is not zero, and with a threshold where that is."""
        directions = self.directions()
        taken = directions != 0
        ternary = {"taken": pack(taken)} if self.settings.threshold else {}
        return {"sign": pack(directions[taken] > 0), "scale": self.scale.detach(), **ternary}


class BitDelta(Reparametrised):
    """The base's weights plus a sign per weight, times a scale per channel."""

    component = "delta"

    @property
    def entries(self) -> tuple[str, ...]:  # type: ignore[override]
        """Signs and scales, and where they count with a threshold."""
        return ("sign", "scale", "taken") if self.settings.threshold else ("sign", "scale")

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """No change yet."""
        return QuantisedDelta(layer.weight.detach(), output_channels(layer), self.settings)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return changes and scales, at the pace of weights."""
        return [modules_group("changes", modules, start)]

    def after_step(self, network: nn.Module, progress: float) -> None:
        """Quantise once the share of plain fine-tuning is done."""
        if progress < self.settings.quantised_after:
            return
        for _, layer in trunk_layers(network):
            delta = learned(layer)
            assert isinstance(delta, QuantisedDelta)
            if not delta.quantised:
                delta.quantise()

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight plus the stored change."""
        everywhere = torch.ones_like(base, dtype=torch.bool)
        taken = unpack(stored["taken"], base.shape) if self.settings.threshold else everywhere
        signs = torch.where(unpack(stored["sign"], torch.Size([int(taken.sum())])), 1.0, -1.0)
        directions = torch.zeros_like(base).masked_scatter(taken, signs)
        return base + stored["scale"] * directions
