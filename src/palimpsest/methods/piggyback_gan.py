"""`piggyback-gan`: filters that are combinations of all earlier filters, and a few that are new.

Idea: a task's filters are mostly mixtures of those that are there already. Formula: of a layer's filters the
share λ is learned freely, the others are linear combinations of the bank, which holds the base's filters and
the free ones of all earlier tasks. Trained: free filters and coefficients, BatchNorm, head. Stored: both; the
free filters join the bank. Forgets: nothing, since the bank only grows. Source: Zhai et al., Piggyback GAN,
ECCV 2020: the closest rival from image-conditioned generation.
Deliberately different: any task and its loss (there those of conditional GANs); BatchNorm of the task; mixtures
start as the base's own filters, and so do the free ones.
"""

import torch
from torch import Tensor, nn

from palimpsest.methods.base import Component, ParameterGroup, Start, load_into
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, modules_group, parted
from palimpsest.networks.trunk import Layer, normalisation_state, output_channels, trunk_state

BANK = "bank"
"""The free filters of all tasks so far, each flat."""


class MixedFilters(LayerWeight):
    """The base's weight → free filters, then combinations of the base's filters and earlier free ones."""

    earlier: Tensor

    def __init__(self, filters: Tensor, earlier: Tensor, free: int, along: int) -> None:
        super().__init__()
        self.along = along
        self.register_buffer("earlier", earlier)
        self.free = nn.Parameter(filters[:free].clone())
        own = torch.eye(len(filters), len(filters) + len(earlier), device=filters.device)
        self.coefficients = nn.Parameter(own[free:].clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight (a, b, h, w) in the same shape."""
        return mixed(weight, self.earlier, self.free, self.coefficients, self.along)

    def stored(self) -> dict[str, Tensor]:
        """Return the coefficients, and the bank with this task's free filters behind the earlier ones."""
        return {
            "coefficients": self.coefficients.detach(),
            BANK: torch.cat([self.earlier, self.free.detach()]),
        }


class PiggybackGan(Reparametrised):
    """New filters as combinations of old ones."""

    component = "filters"
    entries = ("coefficients", BANK)

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """From the base, weights and BatchNorm; the network that is given is as the task before left it."""
        network, base = start.network, start.earlier[0].tensors
        load_into(network, {name: base[name] for name in (*trunk_state(network), *normalisation_state(network))})
        return super().begin_task(start)

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return filters as the base has them."""
        last = start.earlier[-1].tensors
        along = output_channels(layer)
        filters = as_filters(layer.weight.detach(), along)
        earlier = last.get(f"{name}.{BANK}", filters[:0]).to(filters.device)
        return MixedFilters(filters, earlier, round(self.settings.free * len(filters)), along)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Free filters and coefficients."""
        return [modules_group("filters", modules, start)]

    def store(self, network: nn.Module) -> list[Component]:
        """Coefficients, which are the task's, and the bank, which takes the place of the one stored before."""
        mine, *rest = super().store(network)
        own, bank = parted(mine.tensors, BANK)
        return [Component("coefficients", own), Component(BANK, bank, shared=True), *rest]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the filters. The bank may have grown since; the task records its size before its own filters."""
        along = output_channels(layer)
        coefficients, bank = (stored[key] for key in self.entries)
        filters = base.shape[along]
        earlier, free = coefficients.shape[1] - filters, filters - coefficients.shape[0]
        return mixed(base, bank[:earlier], bank[earlier : earlier + free], coefficients, along)


def as_filters(weight: Tensor, along: int) -> Tensor:
    """Weight (a, b, h, w) → one flat filter for each channel along a dimension."""
    return weight.transpose(0, along).flatten(1)


def mixed(weight: Tensor, earlier: Tensor, free: Tensor, coefficients: Tensor, along: int) -> Tensor:
    """Free filters, then combinations of the bank, in the shape of the weight; float32 also under autocast."""
    with torch.autocast(weight.device.type, enabled=False):
        bank = torch.cat([as_filters(weight, along), earlier])
        filters = torch.cat([free, coefficients @ bank])
    shape = weight.transpose(0, along).shape
    return filters.view(shape).transpose(0, along).contiguous()
