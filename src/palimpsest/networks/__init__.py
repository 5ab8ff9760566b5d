"""Networks: nothing in here knows of tasks, methods or masks."""

from palimpsest.networks.unet import UNet
from palimpsest.settings import NetworkSettings

NETWORKS = {"unet": UNet}


def build_network(settings: NetworkSettings, head_channels: int) -> UNet:
    """The network of the sequence with random weights and a head for one task."""
    return NETWORKS[settings.name](settings.width, head_channels, settings.padding)
