"""Convolution of the networks."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PaddingMode = Literal["zeros", "reflect", "replicate"]


class PaddedConvolution(nn.Conv2d):
    """Square convolution that pads by half its size, in the precision of its input.

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
        """(N, in, H, W) → (N, out, ⌈H / stride⌉, ⌈W / stride⌉), for an odd size."""
        if self.padding_mode == "zeros":
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            padded = F.pad(input, [self.kernel_size[0] // 2] * 4, mode=self.padding_mode)
        return F.conv2d(padded, self.weight, self.bias, self.stride)
