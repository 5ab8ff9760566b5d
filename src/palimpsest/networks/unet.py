"""The study's U-Net: an encoder like VGG-13 and a decoder of transposed convolutions, in forward order.

At width 64 and 21 classes it has 14,785,301 parameters (56.40 MiB), 20.51 MiB of them in the decoder, and
14,777,344 convolution weights (1.76 MiB at one bit each). Convolutions have no biases; the head has one.
Source: the study (Matsumoto and Yanai, ACPR 2019), after Ronneberger et al., MICCAI 2015.
"""

from collections.abc import Callable
from pkgutil import resolve_name

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest.networks.base import Network
from palimpsest.networks.convolution import PaddedConvolution, PaddingMode
from palimpsest.networks.unet_settings import STUDY, UNetSettings

BACKBONE = "palimpsest.networks.backbone:BackboneUNet"
"""Network over an encoder of timm, whose import takes a second."""


class Stage(nn.Sequential):
    """Two 3×3 convolutions, each followed by BatchNorm and ReLU: (N, in, H, W) → (N, out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, padding: PaddingMode) -> None:
        super().__init__(
            PaddedConvolution(channels_in, channels_out, 3, padding, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            PaddedConvolution(channels_out, channels_out, 3, padding, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Encoder(nn.Module):
    """Base class of the encoders."""

    channels: list[int]
    """Numbers of channels of the features at each scale."""


class UNetEncoder(Encoder):
    """Stages with max-pooling between them; ``channels`` are the output channels of each stage."""

    def __init__(self, channels: list[int], padding: PaddingMode) -> None:
        super().__init__()
        self.channels = channels
        self.stages = nn.ModuleList(
            Stage(before, after, padding) for before, after in zip([3, *channels], channels, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of pictures (N, 3, H, W) after each stage i: (N, channels[i], H / 2ⁱ, W / 2ⁱ)."""
        features = [self.stages[0](x)]
        for stage in self.stages[1:]:
            features.append(stage(F.max_pool2d(features[-1], 2)))
        return features


class UpBlock(nn.Module):
    """Transposed convolution to twice the size, concatenation of the skip features, and a `Stage`."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int, padding: PaddingMode) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_in, 2, stride=2, bias=False)
        self.stage = Stage(channels_in + channels_skip, channels_out, padding)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (N, out, 2H, 2W) from features x (N, in, H, W) and the encoder's features (N, skip, 2H, 2W)."""
        return self.stage(torch.cat([self.up(x), skip], dim=1))  # type: ignore[no-any-return]


class UNetDecoder(nn.Module):
    """Blocks that upsample features to the picture's size; ``channels`` are the output channels of each block."""

    def __init__(self, encoder_channels: list[int], channels: list[int], padding: PaddingMode) -> None:
        super().__init__()
        skips = encoder_channels[-2::-1]
        self.up_blocks = nn.ModuleList(
            UpBlock(before, skip, after, padding)
            for before, skip, after in zip([encoder_channels[-1], *channels], skips, channels, strict=False)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return features (N, channels[-1], H, W) from the encoder's features of all stages."""
        x = features[-1]
        for up_block, skip in zip(self.up_blocks, features[-2::-1], strict=True):
            x = up_block(x, skip)
        return x


class UNet(Network):
    """U-Net with ``width`` channels in its first stage; see `Network` for the shapes."""

    stride = 16
    reach = 96
    """Receptive field of 94 pixels to each side, rounded up to a multiple of 16.

    The network has two 3×3 convolutions at each of the scales 1, 2, 4, 8, 16, 8, 4, 2, 1 and poolings between them.
    """
    bytes_per_pixel = 36
    """Peak memory of inference, in bytes per pixel and channel of the first stage; measured: 33 to 39."""

    def __init__(
        self,
        width: int,
        head_channels: int,
        padding: PaddingMode = "reflect",
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        channels = [width * factor for factor in (1, 2, 4, 8, 8)]
        self.encoder = encoder or UNetEncoder(channels, padding)
        decoder_channels = [width * factor for factor in (8, 4, 2, 1, 1)[1 - len(self.encoder.channels) :]]
        self.decoder = UNetDecoder(self.encoder.channels, decoder_channels, padding)
        self.head_width = decoder_channels[-1]
        self.head = nn.Conv2d(self.head_width, head_channels, 1)
        for part in (self.decoder,) if encoder else (self.encoder, self.decoder):
            initialise(part)

    @classmethod
    def from_settings(cls, settings: UNetSettings, head_channels: int) -> "UNet":
        """Build a network with random weights and a head for one task, over the encoder of the settings."""
        if settings.encoder == STUDY:
            return cls(settings.width, head_channels, settings.padding)
        network: Callable[..., UNet] = resolve_name(BACKBONE)
        return network(settings.width, head_channels, settings.padding, settings.encoder)

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw output of the head (N, head_channels, H, W) for pictures (N, 3, H, W)."""
        return self.head(self.decoder(self.encoder(2 * x - 1)))  # type: ignore[no-any-return]


def initialise(module: nn.Module) -> None:
    """Give new random weights to the convolutions in a module, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.ConvTranspose2d):
            init_nearest_neighbour(layer)


def init_nearest_neighbour(up: nn.ConvTranspose2d) -> None:
    """Initialise a 2×2 transposed convolution of stride 2, in place, as nearest-neighbour upsampling plus noise.

    If the number of channels changes, the layer upsamples random mixtures of its inputs. With random weights the
    four phases of an output block would start unrelated, and pictures would keep a checkerboard to the end of
    training (Aitken et al. 2017 on sub-pixel convolutions).
    """
    with torch.no_grad():
        nn.init.normal_(up.weight, std=0.1 * up.in_channels**-0.5)
        mixture = torch.eye(up.in_channels)
        if up.in_channels != up.out_channels:
            mixture = torch.randn(up.in_channels, up.out_channels) * (2 / up.in_channels) ** 0.5
        up.weight += mixture[:, :, None, None]
