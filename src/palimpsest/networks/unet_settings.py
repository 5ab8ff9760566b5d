"""Settings of the U-Net."""

from typing import Literal

from palimpsest.networks.settings import NetworkSettings


class UNetSettings(NetworkSettings):
    """The study's U-Net."""

    name: Literal["unet"] = "unet"
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"
    """Values beyond the border of the features in a convolution (`padding_mode` of PyTorch)."""
