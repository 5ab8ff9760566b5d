"""Networks: nothing in here knows of tasks, methods or masks."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from palimpsest.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from palimpsest.networks.base import Network

NETWORKS = {
    "unet": "palimpsest.networks.unet:UNet",
    "resblock": "palimpsest.networks.resblock:ResblockNetwork",
}
"""``module:class`` of each network, imported when one is built and not before, since it needs PyTorch."""


def build_network(settings: NetworkSettings, head_channels: int) -> "Network":
    """Return a network with random weights and a head for one task."""
    built: Network = resolve_name(NETWORKS[settings.name]).from_settings(settings, head_channels)
    return built
