"""Settings of the encoder alone."""

from typing import Literal

from palimpsest.networks.settings import NetworkSettings


class EncoderSettings(NetworkSettings):
    """The encoder of the study's U-Net, for classification."""

    name: Literal["encoder"] = "encoder"
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"
    """Values beyond the border of the features in a convolution (`padding_mode` of PyTorch)."""
