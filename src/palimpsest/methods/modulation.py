"""`modulation`: scale and shift of each kernel, after the base's have been normalised (mFiLM).

Idea: the style of a kernel, its mean and its size, belongs to the task, its shape to the base. Formula: for the
kernel w of each pair of channels γ · (w − mean(w)) / std(w) + β. Trained: γ and β of every pair of channels,
BatchNorm, head. Stored: two numbers per pair of channels, 2/9 of a 3×3 convolution and half of a transposed one
of 2×2. Forgets: nothing. Source: Cong, Zhao, Li, Wang and Carin, GAN Memory with No Forgetting, NeurIPS 2020,
whose mFiLM has a pair of numbers for each row of a matrix and, as mAdaFM, for each kernel of a convolution, as here
(BatchNorm would take out again what scales a whole filter).
Deliberately different: convolutions have no biases here, so that there are none to modulate; γ and β start
where the base is, at its kernels' own size and mean.
"""

import torch
from torch import Tensor, nn

from palimpsest.methods.base import ParameterGroup, Start
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, modules_group
from palimpsest.networks.trunk import Layer

SMALLEST = 1e-6
"""Smallest norm of a kernel."""


class Modulation(LayerWeight):
    """weight (a, b, h, w) → each kernel at the size and the mean that are learned for it."""

    shapes: Tensor
    """The base's kernels at mean 0 and size 1, found once: it takes a fifth of a step."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        deviation, mean = kernel_moments(weight)
        self.register_buffer("shapes", standardised(weight), persistent=False)
        self.size = nn.Parameter(deviation)
        self.mean = nn.Parameter(mean)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the base's kernels; as many of the same shape."""
        return modulated(self.shapes, self.size, self.mean)

    def stored(self) -> dict[str, Tensor]:
        """Size and mean of each kernel, (a, b, 1, 1)."""
        return {"size": self.size.detach(), "mean": self.mean.detach()}


class FilterModulation(Reparametrised):
    """The base's kernels, each at a size and a mean of the task's own."""

    component = "modulation"
    entries = ("size", "mean")

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Size and mean as the base has them."""
        return Modulation(layer.weight.detach())

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Sizes and means."""
        return [modules_group("modulation", modules, start)]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the modulated kernels."""
        return modulated(standardised(base), stored["size"], stored["mean"])


def kernel_moments(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return standard deviation, at least `SMALLEST`, and mean of each kernel: (a, b, h, w) → 2 × (a, b, 1, 1)."""
    variance, mean = torch.var_mean(weight, dim=(2, 3), correction=0, keepdim=True)
    return variance.sqrt().clamp(min=SMALLEST), mean


def standardised(weight: Tensor) -> Tensor:
    """Kernels at mean 0 and size 1."""
    size, mean = kernel_moments(weight)
    return (weight - mean) / size


def modulated(shapes: Tensor, size: Tensor, mean: Tensor) -> Tensor:
    """Standardised kernels at a size and a mean, in one order of operations while learned and when recalled."""
    return shapes * size + mean
