"""`adapter`: a small convolution per task, parallel to each convolution of the base.

Idea: a task is the base plus a small correction of each layer. Formula: w ∗ x + a ∗ x, with a 1×1 convolution a;
with the setting ``rank``, a = B·A, where A is a convolution of ``rank`` filters of the layer's size and B is 1×1.
Trained: the adapters, BatchNorm, head. Stored: the adapters, a ninth of a 3×3 convolution. Forgets: nothing.
Source: Rebuffi, Bilen and Vedaldi, Efficient Parametrization of Multi-domain Deep Neural Networks, CVPR 2018
(parallel adapters); Hu et al., LoRA, ICLR 2022, applied to convolutions.
Deliberately different: the adapter is added to the weight, which gives the same output as a parallel convolution at
the speed of the base. The 2×2 transposed convolutions have no adapter.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest.methods.adapter_settings import AdapterSettings
from palimpsest.methods.base import ParameterGroup, Start
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, modules_group
from palimpsest.networks.trunk import Layer, trunk_layers


class Pointwise(LayerWeight):
    """Adapter of one layer: adds a learned 1×1 convolution (out, in, 1, 1) at the centre of each kernel."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.point = nn.Parameter(weight.new_zeros(*weight.shape[:2], 1, 1))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight plus the adapter, in the shape of the weight; kernels have odd sides."""
        return with_point(weight, self.point)

    def stored(self) -> dict[str, Tensor]:
        """Return the 1×1 convolution as ``point``."""
        return {"point": self.point.detach()}


class LowRank(LayerWeight):
    """Adapter of one layer: adds a learned product of factors (out, rank) and (rank, in, h, w) to the weight."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rank = min(rank, *weight.shape[:2])
        self.filters = nn.Parameter(nn.init.kaiming_normal_(weight.new_empty(rank, *weight.shape[1:])))
        self.mixture = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight plus the adapter, in the shape of the weight."""
        return with_product(weight, self.mixture, self.filters)

    def stored(self) -> dict[str, Tensor]:
        """Return the factors as ``mixture`` and ``filters``."""
        return {"mixture": self.mixture.detach(), "filters": self.filters.detach()}


class Adapter(Reparametrised):
    """Adapters parallel to the base's 3×3 convolutions."""

    settings: AdapterSettings
    component = "adapter"

    @property
    def entries(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of a layer's stored tensors: two factors with the setting `rank`, otherwise a 1×1 convolution."""
        return ("mixture", "filters") if self.settings.rank else ("point",)

    def layers(self, network: nn.Module) -> Iterator[tuple[str, Layer]]:
        """Yield name and module of the convolutions except transposed ones, whose 2×2 kernels have no centre."""
        return ((name, layer) for name, layer in trunk_layers(network) if isinstance(layer, nn.Conv2d))

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return an adapter that at first adds zero."""
        weight = layer.weight.detach()
        return LowRank(weight, self.settings.rank) if self.settings.rank else Pointwise(weight)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the parameters of the adapters as one group."""
        return [modules_group("adapters", modules, start, self.settings.lr_multiplier)]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight plus the stored adapter."""
        if self.settings.rank:
            return with_product(base, stored["mixture"], stored["filters"])
        return with_point(base, stored["point"])


def with_point(weight: Tensor, point: Tensor) -> Tensor:
    """Return a weight with ``point``, (out, in, 1, 1), added at the centre of its kernels, whose sides are odd."""
    rows, columns = ((side - 1) // 2 for side in weight.shape[2:])
    return weight + F.pad(point, (columns, columns, rows, rows))


def with_product(weight: Tensor, mixture: Tensor, filters: Tensor) -> Tensor:
    """Return a weight plus the product of two factors; float32 also under autocast, as after loading."""
    with torch.autocast(weight.device.type, enabled=False):
        return weight + torch.einsum("or,rihw->oihw", mixture, filters)
