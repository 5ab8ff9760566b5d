"""Networks: nothing in here knows of tasks, methods or masks."""

from palimpsest.networks.resblock import ResblockNetwork
from palimpsest.networks.unet import UNet
from palimpsest.settings import NetworkSettings

Network = UNet | ResblockNetwork


def build_network(settings: NetworkSettings, head_channels: int) -> Network:
    """A network with random weights and a head for one task."""
    if settings.name == "resblock":
        return ResblockNetwork(settings.width, head_channels, settings.padding, settings.blocks)
    return UNet(settings.width, head_channels, settings.padding)
