"""Example of a network outside the package: a small ConvNeXt with a decoder, entered by one row in `NETWORKS`.

Source: Liu et al., A ConvNet for the 2020s, CVPR 2022. The networks of the package lack its kinds
of tensors: LayerNorm, layer scale, depthwise convolutions, linear layers, biases in the trunk.
"""

from typing import Self

import torch
from torch import Tensor, nn

from palimpsest.networks import NetworkEntry
from palimpsest.networks.base import Network
from palimpsest.networks.settings import NetworkSettings


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Residual block x + scale · MLP(norm(depthwise 7×7(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        mixed = self.project(nn.functional.gelu(self.expand(mixed)))
        return x + (self.scale * mixed).permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """Encoder: (N, 3, H, W) → (N, width, H / 2, W / 2) and (N, 2 width, H / 4, W / 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, width, 2, stride=2), ChannelNorm(width), Block(width))
        self.coarse = nn.Sequential(ChannelNorm(width), nn.Conv2d(width, 2 * width, 2, stride=2), Block(2 * width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(x)
        return fine, self.coarse(fine)


class Decoder(nn.Module):
    """Decoder: features of the encoder → (N, width, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.mix = nn.Sequential(nn.Conv2d(2 * width, width, 1), Block(width))
        self.last = nn.ConvTranspose2d(width, width, 2, stride=2)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return self.last(self.mix(torch.cat([self.up(coarse), fine], dim=1)))


class ConvNeXt(Network):
    """Network: (N, 3, H, W), float in [0, 1], H and W multiples of `stride` → (N, head_channels, H, W)."""

    stride = 4
    reach = 32
    bytes_per_pixel = 64

    def __init__(self, width: int, head_channels: int) -> None:
        super().__init__()
        self.width = self.head_width = width
        self.encoder, self.decoder = Encoder(width), Decoder(width)
        self.head = nn.Conv2d(width, head_channels, 1)

    @classmethod
    def from_settings(cls, settings: NetworkSettings, head_channels: int) -> Self:
        return cls(settings.width, head_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(*self.encoder(2 * x - 1)))


ROW = {"convnext": NetworkEntry("tests.networks.convnext:ConvNeXt", submodules=("encoder", "decoder"))}
