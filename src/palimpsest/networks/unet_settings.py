"""Settings of the U-Net."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

from palimpsest.networks.settings import NetworkSettings
from palimpsest.schema import UserPath

STUDY = "study"
"""Name of the study's own encoder."""


class UNetSettings(NetworkSettings):
    """The study's U-Net, with the study's encoder or a convolutional network of timm in its place."""

    name: Literal["unet"] = "unet"
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"
    """Values beyond the border of the features in a convolution (`padding_mode` of PyTorch). An encoder of timm
    pads with zeros."""
    encoder: str = STUDY
    """Encoder: ``study``, or the name of a convolutional network of the library timm, such as
    ``tf_efficientnet_lite0``. `width` then counts the channels of the full-resolution stage and of the decoder."""
    encoder_weights: Literal["random"] | UserPath | None = None
    """Initial weights of an encoder of timm: ``random``, a file (`.safetensors` or `.pth`, with timm's names), or
    None for the published weights, which are downloaded. The study's encoder starts with random weights."""

    @property
    def initial_weights(self) -> Path | None:
        """File of the encoder's initial weights; None for random weights."""
        weights = self.encoder_weights
        return weights if isinstance(weights, Path) and self.encoder != STUDY else None

    @property
    def has_backbone(self) -> bool:
        """True if the encoder is a network of the library timm."""
        return self.encoder != STUDY

    def with_weights(self, path_of: Callable[[str], Path]) -> Self:
        """Return the settings with the file of the downloaded weights of an encoder of timm without a setting."""
        if self.encoder == STUDY or self.encoder_weights is not None:
            return self
        return self.model_copy(update={"encoder_weights": path_of(self.encoder)})

    def for_inference(self) -> Self:
        """Return the settings with random initial weights in place of a file."""
        return self if self.encoder_weights is None else self.model_copy(update={"encoder_weights": "random"})

    def fits(self, required: Self) -> bool:
        """Return whether both networks have the same tensors; initial weights can differ."""
        return self.model_copy(update={"encoder_weights": required.encoder_weights}) == required
