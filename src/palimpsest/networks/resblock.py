"""The study's second network: an auto-encoder that all tasks share, with residual blocks of the task in its
middle.

Encoder: a 9×9 convolution and three of 3×3 and stride 2 (width 64: 64-128-256-512 channels); decoder: three 2×2
transposed convolutions and a 9×9 to a picture. With biases and without normalisation, so that it can return its
input, which it does from the start (`palimpsest.networks.wavelets`): 8.66 MiB at width 64. Per task: N residual
blocks at the narrowest place, 512 channels, and N at 256, behind the first transposed convolution, each of two 3×3
convolutions with instance normalisation, without biases: 22.5 MiB for a pair. The 1×1 head sees the decoder's last
features and its picture, `LOUDNESS` times. Source: the study, after Johnson et al., ECCV 2016.

What comes out of instance normalisation has the size that its own scale says: without one a block could not be
quiet, and twelve of them would drown what the frozen decoder has to return. So the last normalisation of a block
has a scale, which starts at zero, and a shift, so that a task begins as the auto-encoder (Goyal et al., Accurate,
Large Minibatch SGD, 2017); they count as the task's BatchNorm does, 36 KiB at width 64 and N = 6.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest.networks.base import Network
from palimpsest.networks.convolution import PaddedConvolution, PaddingMode
from palimpsest.networks.resblock_settings import ResblockSettings
from palimpsest.networks.wavelets import start_as_wavelets


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation under which a channel that does not vary stays flat.

    Where a variance is below ε it is that of rounding errors, as under a white sky that fills the picture. Some
    norms on, each with a slope of 1 / √ε, they would be a pattern of full size, and their gradient would overflow,
    or hide all other pictures of the batch when it is clipped.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        n, channels, height, width = x.shape
        # A group per channel, and rows in PyTorch's first order: several times as fast on a CPU as its own instance
        # normalisation, and it tells the deviations. In float32, since it stores them as precisely as it gets x.
        rows = x.to(torch.float32, memory_format=torch.contiguous_format)
        normal, _, slope = torch.native_group_norm(
            rows, self.weight, self.bias, n, channels, height * width, channels, self.eps
        )
        flat = (slope >= (2 * self.eps) ** -0.5)[:, :, None, None]
        shift = 0.0 if self.bias is None else self.bias[:, None, None]
        return torch.empty_like(x).copy_(torch.where(flat, shift, normal))  # in the type and order of memory of x


class ResidualBlock(nn.Module):
    """x + two 3×3 convolutions with instance normalisation: (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, channels: int, padding: PaddingMode) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            PaddedConvolution(channels, channels, 3, padding, bias=False),
            InstanceNorm(channels),
            nn.ReLU(inplace=True),
            PaddedConvolution(channels, channels, 3, padding, bias=False),
            InstanceNorm(channels, affine=True),
        )
        scale = self.layers[-1].get_parameter("weight")
        nn.init.zeros_(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus what the block makes of it."""
        return x + self.layers(x)  # type: ignore[no-any-return]


class Blocks(nn.Module):
    """Blocks of a task: equally many at the deepest place and behind the first step up."""

    def __init__(self, width: int, number: int, padding: PaddingMode) -> None:
        super().__init__()
        self.deep = nn.ModuleList(ResidualBlock(8 * width, padding) for _ in range(number))
        self.rising = nn.ModuleList(ResidualBlock(4 * width, padding) for _ in range(number))


class ResblockNetwork(Network):
    """Pictures (N, 3, H, W), float in [0, 1], H and W multiples of `stride` → (N, head_channels, H, W)."""

    stride = 8
    reach = None
    """It cannot be run in windows: instance normalisation looks at the whole picture, however far it goes on."""
    bytes_per_pixel = 33
    """Peak memory per pixel and channel of the first layer when it is applied; measured on the CPU by the peak of
    a fresh process's resident memory: 15 to 33 at widths from 8 to 64 with 6 and 9 blocks."""

    def __init__(self, width: int, head_channels: int, padding: PaddingMode = "reflect", blocks: int = 0) -> None:
        super().__init__()
        self.width = width
        channels = [width * factor for factor in (1, 2, 4, 8)]
        self.first = PaddedConvolution(3, width, 9, padding)
        down = [PaddedConvolution(before, after, 3, padding, stride=2) for before, after in pairwise(channels)]
        self.down = nn.ModuleList(down)
        self.blocks = Blocks(width, blocks, padding)
        up = [nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in pairwise(channels[::-1])]
        self.up = nn.ModuleList(up)
        self.last = PaddedConvolution(width, 3, 9, padding)
        self.head_width = width + 3
        self.head = nn.Conv2d(self.head_width, head_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.head:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        start_as_wavelets(self.first, down, up, self.last)
        start_quiet(self.head)

    @classmethod
    def from_settings(cls, settings: ResblockSettings, head_channels: int) -> Self:
        """Return a network with random weights and a head for one task."""
        return cls(settings.width, head_channels, settings.padding, settings.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Raw output of the head; what it means is the task's matter."""
        return self.decode(self.encode(x), self.blocks.deep, self.blocks.rising)

    def encode(self, x: Tensor) -> Tensor:
        """Pictures → (N, 8 width, H / 8, W / 8)."""
        x = F.relu(self.first(2 * x - 1))
        for layer in self.down:
            x = F.relu(layer(x))
        return x

    def decode(self, x: Tensor, deep: Iterable[nn.Module], rising: Iterable[nn.Module]) -> Tensor:
        """Return the encoder's features, through the blocks of one task or more → (N, head_channels, H, W)."""
        for block in deep:
            x = block(x)
        x = F.relu(self.up[0](x))
        for block in rising:
            x = block(x)
        for layer in self.up[1:]:
            x = F.relu(layer(x))
        return self.head(LOUDNESS * torch.cat([x, self.last(x)], dim=1))  # type: ignore[no-any-return]


@torch.no_grad()
def start_quiet(head: nn.Conv2d) -> None:
    """Start a head with little of the features; one that gives pictures with the decoder's own, in [-1, 1]."""
    nn.init.normal_(head.weight, std=SMALL)
    if head.out_channels == 3:  # a sigmoid follows
        head.weight[:, -3:, 0, 0] += STEEPNESS / LOUDNESS * torch.eye(3)
    assert head.bias is not None
    nn.init.zeros_(head.bias)


LOUDNESS = 16
"""Factor of the head's features. No normalisation precedes the head, and most features vary by a few hundredths:
without the factor its weights grow too slowly for class scores."""

STEEPNESS, SMALL = 2.3, 2e-3
"""Steepness at which sigmoid(STEEPNESS · p) is closest to (p + 1) / 2, and initial scale of the head's weights."""
