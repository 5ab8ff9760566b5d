"""`piggyback-gan`: filters that are linear combinations of all earlier filters, and a few new filters.

Idea: most filters of a task are mixtures of earlier filters. Formula: a share λ of each layer's filters is new; the
others are linear combinations of the base's filters and of the new filters of all earlier tasks.
Trained: new filters and coefficients, BatchNorm, head. Stored: both; the new filters are added to a bank with those
of all earlier tasks.
Forgets: nothing, because the bank only grows. Source: Zhai et al., Piggyback GAN, ECCV 2020, the closest method
from image-conditioned generation.
Deliberately different: any task and its loss (original: conditional GANs); BatchNorm belongs to the task; new
filters and mixtures start as the base's filters.
"""

import torch
from torch import Tensor, nn

from palimpsest.methods.base import Component, ParameterGroup, Start, load_into
from palimpsest.methods.piggyback_gan_settings import PiggybackGanSettings
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, modules_group, split_entry
from palimpsest.networks.trunk import Layer, normalisation_state, output_channels, trunk_state

BANK = "bank"
"""Name of the tensor with the new filters of all tasks so far, each flattened."""


class MixedFilters(LayerWeight):
    """Parametrization of one layer: new filters, then linear combinations of all earlier filters.

    ``filters`` are those of the base, ``earlier`` the new filters of earlier tasks, all flattened; ``free`` is the
    number of new filters.
    """

    earlier: Tensor
    """New filters of earlier tasks, (number, elements)."""

    def __init__(self, filters: Tensor, earlier: Tensor, free: int, channel_dim: int) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.register_buffer("earlier", earlier)
        self.free = nn.Parameter(filters[:free].clone())
        identity = torch.eye(len(filters), len(filters) + len(earlier), device=filters.device)
        self.coefficients = nn.Parameter(identity[free:].clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight of the task from the base's, in the same shape."""
        return mixed(weight, self.earlier, self.free, self.coefficients, self.channel_dim)

    def stored(self) -> dict[str, Tensor]:
        """Return the coefficients, and the bank with this task's new filters at the end."""
        return {
            "coefficients": self.coefficients.detach(),
            BANK: torch.cat([self.earlier, self.free.detach()]),
        }


class PiggybackGan(Reparametrised):
    """Method whose filters are new or linear combinations of all earlier filters."""

    settings: PiggybackGanSettings
    component = "filters"
    entries = ("coefficients", BANK)

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Restore the base's weights and BatchNorm, which differ after the previous task; then begin as usual."""
        network, base = start.network, start.earlier[0].tensors
        load_into(network, {name: base[name] for name in (*trunk_state(network), *normalisation_state(network))})
        return super().begin_task(start)

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a parametrization that starts as the base's filters."""
        previous = start.earlier[-1].tensors
        channel_dim = output_channels(layer)
        filters = as_filters(layer.weight.detach(), channel_dim)
        earlier = previous.get(f"{name}.{BANK}", filters[:0]).to(filters.device)
        return MixedFilters(filters, earlier, round(self.settings.free * len(filters)), channel_dim)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return new filters and coefficients as one group."""
        return [modules_group("filters", modules, start)]

    def store(self, network: nn.Module) -> list[Component]:
        """Return coefficients, bank, which replaces that of earlier tasks, normalisation and head as components."""
        component, *task = super().store(network)
        coefficients, bank = split_entry(component.tensors, BANK)
        return [Component("coefficients", coefficients), Component(BANK, bank, shared=True), *task]

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the task's weight from the base's, the stored coefficients and the stored bank.

        The bank has the new filters of all tasks, also of later ones, without the base's filters. The coefficients
        have one column per filter of the base and of earlier tasks; the number of columns tells where this task's
        new filters start in the bank.
        """
        channel_dim = output_channels(layer)
        coefficients, bank = (stored[key] for key in self.entries)
        filters = base.shape[channel_dim]
        earlier, free = coefficients.shape[1] - filters, filters - coefficients.shape[0]
        return mixed(base, bank[:earlier], bank[earlier : earlier + free], coefficients, channel_dim)


def as_filters(weight: Tensor, channel_dim: int) -> Tensor:
    """Return a weight as one flat filter per output channel: (a, b, h, w) → (channels, elements)."""
    return weight.transpose(0, channel_dim).flatten(1)


def mixed(weight: Tensor, earlier: Tensor, free: Tensor, coefficients: Tensor, channel_dim: int) -> Tensor:
    """Return the weight of a task, in the shape of the base's ``weight``: new filters, then combinations.

    ``free`` are the task's new filters and ``earlier`` those of earlier tasks. The computation is in float32 also
    under autocast, as after loading.
    """
    with torch.autocast(weight.device.type, enabled=False):
        combined = torch.cat([as_filters(weight, channel_dim), earlier])
        filters = torch.cat([free, coefficients @ combined])
    shape = weight.transpose(0, channel_dim).shape
    return filters.view(shape).transpose(0, channel_dim).contiguous()
