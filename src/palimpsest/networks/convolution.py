"""Convolution of the networks."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PaddingMode = Literal["zeros", "reflect", "replicate"]
"""Values of `nn.Conv2d`'s ``padding_mode`` that the networks use."""


class PaddedConvolution(nn.Conv2d):
    """Convolution with a square kernel that pads its input by half the kernel's size, in the input's precision.

    Under autocast on a CPU, `nn.Conv2d` pads in float32 and copies every feature map twice in each direction, which
    takes an eighth of a training step.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: int,
        padding: PaddingMode,
        *,
        stride: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            channels_in, channels_out, size, stride, padding=size // 2, padding_mode=padding, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, out, ⌈H / stride⌉, ⌈W / stride⌉) from (N, in, H, W), for a kernel of odd size."""
        if self.padding_mode == "zeros":
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            padded = F.pad(input, [self.kernel_size[0] // 2] * 4, mode=self.padding_mode)
        return F.conv2d(padded, self.weight, self.bias, self.stride)
