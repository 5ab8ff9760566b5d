"""`modulation`: scale and shift of each kernel after normalisation of the base's kernels (mFiLM).

Idea: mean and standard deviation of a kernel belong to the task, its shape to the base. Formula: for the kernel w
of each pair of channels γ · (w − mean(w)) / std(w) + β. Trained: γ and β of every pair of channels, BatchNorm,
head.
Stored: two numbers per pair of channels, 2/9 of a 3×3 convolution and half of a transposed 2×2 convolution.
Forgets: nothing. Source: Cong, Zhao, Li, Wang and Carin, GAN Memory with No Forgetting, NeurIPS 2020; mFiLM has a
pair of numbers per row of a matrix, mAdaFM, as here, per kernel of a convolution (BatchNorm would cancel the scale
of a whole filter).
Deliberately different: no biases are modulated, because convolutions here have none; γ and β start at standard
deviation and mean of the base's kernels.
"""

import torch
from torch import Tensor, nn

from palimpsest.methods.base import ParameterGroup, Start
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, modules_group
from palimpsest.networks.trunk import Layer

SMALLEST = 1e-6
"""Lower bound of a kernel's standard deviation."""


class Modulation(LayerWeight):
    """Parametrization of one layer: the base's kernels with learned standard deviation and mean.

    The weight is (a, b, h, w), with one kernel per pair of channels.
    """

    shapes: Tensor
    """Base kernels at mean 0 and standard deviation 1; computed once, since this takes a fifth of a step."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        deviation, mean = kernel_moments(weight)
        self.register_buffer("shapes", standardised(weight), persistent=False)
        self.std = nn.Parameter(deviation)
        self.mean = nn.Parameter(mean)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the modulated kernels, in the shape of the weight, which is not read again."""
        return modulated(self.shapes, self.std, self.mean)

    def stored(self) -> dict[str, Tensor]:
        """Return standard deviation (``std``) and mean of each kernel, (a, b, 1, 1)."""
        return {"std": self.std.detach(), "mean": self.mean.detach()}


class FilterModulation(Reparametrised):
    """Method in which each task has its own standard deviation and mean of each kernel of the base."""

    component = "modulation"
    entries = ("std", "mean")

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a parametrization that starts with the standard deviations and means of the base's kernels."""
        return Modulation(layer.weight.detach())

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return standard deviations and means as one group."""
        return [modules_group("modulation", modules, start)]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's kernels with the stored standard deviations and means."""
        return modulated(standardised(base), stored["std"], stored["mean"])


def kernel_moments(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return standard deviation, at least `SMALLEST`, and mean of each kernel: (a, b, h, w) → 2 × (a, b, 1, 1)."""
    variance, mean = torch.var_mean(weight, dim=(2, 3), correction=0, keepdim=True)
    return variance.sqrt().clamp(min=SMALLEST), mean


def standardised(weight: Tensor) -> Tensor:
    """Return the kernels of a weight (a, b, h, w), each at mean 0 and standard deviation 1."""
    std, mean = kernel_moments(weight)
    return (weight - mean) / std


def modulated(shapes: Tensor, std: Tensor, mean: Tensor) -> Tensor:
    """Return kernels with these moments; training and loading both use it, so that the bits are equal."""
    return shapes * std + mean
