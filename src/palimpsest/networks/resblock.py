"""The study's second network: a shared auto-encoder with residual blocks of the task in the middle.

Encoder: a 9×9 convolution and three 3×3 convolutions of stride 2 (width 64: 64-128-256-512 channels). Decoder:
three 2×2 transposed convolutions and a 9×9 convolution to a picture. Both have biases and no normalisation, so that
the auto-encoder can return its input; it does so from the start (`palimpsest.networks.wavelets`). Size: 8.66 MiB at
width 64. Per task: N residual blocks at the deepest level (512 channels) and N after the first transposed
convolution (256 channels), each of two 3×3 convolutions with instance normalisation and without biases; 22.5 MiB
for a pair. The input of the 1×1 head is the decoder's last features and its picture, multiplied by `HEAD_GAIN`.
Source: the study, after Johnson et al., ECCV 2016.

The output of instance normalisation has the magnitude of its scale. Without a scale, the sum of twelve blocks would
exceed the features that the frozen decoder needs. The last normalisation of a block therefore has a scale, which
starts at zero, and a shift, so that a task starts as the auto-encoder (Goyal et al., Accurate, Large Minibatch SGD,
2017). They are stored as the task's BatchNorm, 36 KiB at width 64 and N = 6.
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
from palimpsest.networks.wavelets import init_wavelets


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation that keeps constant channels constant.

    A variance below ε comes from rounding errors, as for a white sky that fills the picture. Several
    normalisations, each with a slope of 1 / √ε, would amplify the errors to full contrast; their gradient would
    overflow or, after clipping, outweigh all other pictures of the batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised features, with the shape (N, C, H, W), type and memory format of ``x``."""
        n, channels, height, width = x.shape
        # Group normalisation with a group per channel, in contiguous memory: on a CPU several times as fast as
        # PyTorch's instance normalisation, and it returns the deviations. float32, because they have the type of x.
        rows = x.to(torch.float32, memory_format=torch.contiguous_format)
        normal, _, slope = torch.native_group_norm(
            rows, self.weight, self.bias, n, channels, height * width, channels, self.eps
        )
        flat = (slope >= (2 * self.eps) ** -0.5)[:, :, None, None]
        shift = 0.0 if self.bias is None else self.bias[:, None, None]
        return torch.empty_like(x).copy_(torch.where(flat, shift, normal))  # with the type and memory format of x


class ResidualBlock(nn.Module):
    """Residual block, (N, C, H, W) → (N, C, H, W): x plus two 3×3 convolutions with instance normalisation."""

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
        """Return the input plus the output of the layers."""
        return x + self.layers(x)  # type: ignore[no-any-return]


class Blocks(nn.Module):
    """Residual blocks of one task: ``number`` at the deepest level and as many after the first upsampling."""

    def __init__(self, width: int, number: int, padding: PaddingMode) -> None:
        super().__init__()
        self.deep = nn.ModuleList(ResidualBlock(8 * width, padding) for _ in range(number))
        self.rising = nn.ModuleList(ResidualBlock(4 * width, padding) for _ in range(number))


class ResblockNetwork(Network):
    """Auto-encoder with ``blocks`` residual blocks at each of two depths; see `Network` for the shapes."""

    stride = 8
    reach = None
    """None, because instance normalisation depends on the whole picture."""
    bytes_per_pixel = 33
    """Peak memory of inference, in bytes per pixel and channel of the first layer. Measured as peak resident memory
    of a new process on the CPU: 15 to 33 at widths from 8 to 64 with 6 and 9 blocks."""

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
        init_wavelets(self.first, down, up, self.last)
        init_head(self.head)

    @classmethod
    def from_settings(cls, settings: ResblockSettings, head_channels: int) -> Self:
        """Build a network with random weights and a head for one task."""
        return cls(settings.width, head_channels, settings.padding, settings.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw output of the head (N, head_channels, H, W) for pictures (N, 3, H, W)."""
        return self.decode(self.encode(x), self.blocks.deep, self.blocks.rising)

    def encode(self, x: Tensor) -> Tensor:
        """Return the features (N, 8 width, H / 8, W / 8) of pictures."""
        x = F.relu(self.first(2 * x - 1))
        for layer in self.down:
            x = F.relu(layer(x))
        return x

    def decode(self, x: Tensor, deep: Iterable[nn.Module], rising: Iterable[nn.Module]) -> Tensor:
        """Return the head's output (N, head_channels, H, W) for the features of `encode`.

        The blocks ``deep`` run before the first upsampling, the blocks ``rising`` after it; they can belong to
        several tasks.
        """
        for block in deep:
            x = block(x)
        x = F.relu(self.up[0](x))
        for block in rising:
            x = block(x)
        for layer in self.up[1:]:
            x = F.relu(layer(x))
        return self.head(HEAD_GAIN * torch.cat([x, self.last(x)], dim=1))  # type: ignore[no-any-return]


@torch.no_grad()
def init_head(head: nn.Conv2d) -> None:
    """Initialise a head, in place, with small random weights.

    A head of three channels also copies the decoder's picture.
    """
    nn.init.normal_(head.weight, std=INITIAL_STD)
    if head.out_channels == 3:  # a sigmoid follows
        head.weight[:, -3:, 0, 0] += STEEPNESS / HEAD_GAIN * torch.eye(3)
    assert head.bias is not None
    nn.init.zeros_(head.bias)


HEAD_GAIN = 16
"""Factor of the head's input. No normalisation precedes the head, and most features vary by a few hundredths;
without the factor its weights grow too slowly for class scores."""

STEEPNESS, INITIAL_STD = 2.3, 2e-3
"""Factor for which sigmoid(STEEPNESS · p) is closest to (p + 1) / 2; standard deviation of the head's initial
weights."""
