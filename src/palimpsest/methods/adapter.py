"""`adapter`: a small convolution per task beside each of the base's.

Idea: what a task needs is the base's answer plus a little. Formula: w ∗ x + a ∗ x, with a 1×1 convolution a; as
a setting of low rank, a = B·A with A a convolution of ``rank`` filters of the layer's size and B 1×1. Trained:
the adapters, BatchNorm, head. Stored: the adapters, a ninth of a 3×3 convolution. Forgets: nothing. Source:
Rebuffi, Bilen and Vedaldi, Efficient Parametrization of Multi-domain Deep Neural Networks, CVPR 2018 (parallel
adapters); Hu et al., LoRA, ICLR 2022, and its use on convolutions.
Deliberately different: a parallel convolution is the same as a sum of weights, and is computed so: a network
that runs a task is as fast as the base. The 2×2 transposed convolutions have no adapter.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest.methods.base import ParameterGroup, Start
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, modules_group
from palimpsest.networks.trunk import Layer, trunk_layers


class Pointwise(LayerWeight):
    """weight (out, in, h, w) → the same with a learned (out, in, 1, 1) added in the middle."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.point = nn.Parameter(weight.new_zeros(*weight.shape[:2], 1, 1))

    def forward(self, weight: Tensor) -> Tensor:
        """Odd heights and widths; the same shape."""
        return with_point(weight, self.point)

    def stored(self) -> dict[str, Tensor]:
        """Return the 1×1 convolution."""
        return {"point": self.point.detach()}


class LowRank(LayerWeight):
    """weight (out, in, h, w) → the same with a product (out, rank) · (rank, in, h, w) added."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rank = min(rank, *weight.shape[:2])
        self.filters = nn.Parameter(nn.init.kaiming_normal_(weight.new_empty(rank, *weight.shape[1:])))
        self.mixture = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Any height and width; the same shape."""
        return with_product(weight, self.mixture, self.filters)

    def stored(self) -> dict[str, Tensor]:
        """Both factors."""
        return {"mixture": self.mixture.detach(), "filters": self.filters.detach()}


class Adapter(Reparametrised):
    """Adapters beside the base's 3×3 convolutions."""

    component = "adapter"

    @property
    def entries(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the tensors of a 1×1 convolution or of two factors."""
        return ("mixture", "filters") if self.settings.rank else ("point",)

    def layers(self, network: nn.Module) -> Iterator[tuple[str, Layer]]:
        """Return the convolutions that have a middle."""
        return ((name, layer) for name, layer in trunk_layers(network) if isinstance(layer, nn.Conv2d))

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return an adapter that adds nothing yet."""
        weight = layer.weight.detach()
        return LowRank(weight, self.settings.rank) if self.settings.rank else Pointwise(weight)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the adapters."""
        return [modules_group("adapters", modules, start, self.settings.lr_multiplier)]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the sum of both convolutions' weights."""
        if self.settings.rank:
            return with_product(base, stored["mixture"], stored["filters"])
        return with_point(base, stored["point"])


def with_point(weight: Tensor, point: Tensor) -> Tensor:
    """Return a 1×1 convolution added to a larger one of odd sides."""
    rows, columns = ((side - 1) // 2 for side in weight.shape[2:])
    return weight + F.pad(point, (columns, columns, rows, rows))


def with_product(weight: Tensor, mixture: Tensor, filters: Tensor) -> Tensor:
    """Return a convolution of low rank added to another; in float32 also under autocast, as it is recalled."""
    with torch.autocast(weight.device.type, enabled=False):
        return weight + torch.einsum("or,rihw->oihw", mixture, filters)
