"""Receptive field of a network of convolutions, measured on the network itself."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

WINDOWED = (nn.Conv2d, _MaxPoolNd, _AvgPoolNd)
"""Classes of layers whose output depends on a neighbourhood of the input. Transposed convolutions of the U-Net have
disjoint windows."""


def reach(network: nn.Module, stride: int) -> int | None:
    """Return by how many pixels the receptive field extends beyond a window aligned to ``stride``.

    ``network`` maps pictures (N, 3, H, W) to (N, C, H, W). The result is the sum over all layers, which is exact if
    they follow each other and otherwise too large, rounded up to a multiple of ``stride``. It is None if the output
    depends on the whole picture, as with pooling over all pixels.
    """
    copied = copy.deepcopy(network).eval()
    total = -int(-summed(copied, 8 * stride) // stride) * stride
    return total if is_local(copied, stride, total) else None


def summed(network: nn.Module, side: int) -> float:
    """Return the pixels by which the layers of a network extend the receptive field, for pictures of this side."""
    pixels = 0.0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal pixels
        size, dilation = (_number(getattr(module, key, 1)) for key in ("kernel_size", "dilation"))
        pixels += size // 2 * dilation * side / max(inputs[0].shape[-2:])

    for module in network.modules():
        if isinstance(module, WINDOWED):
            module.register_forward_hook(add)
    with torch.inference_mode():
        network(torch.zeros(1, 3, side, side))
    return pixels


def is_local(network: nn.Module, stride: int, pixels: int) -> bool:
    """Return True if a change beyond ``pixels`` leaves the output of a window unchanged; change all parameters."""
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(1, 3, 2 * stride, pixels + 4 * stride, generator=generator)
    second = first.clone()
    second[..., stride + pixels :] = 1 - second[..., stride + pixels :]
    with torch.inference_mode():
        for parameter in network.parameters():  # parameters that are 0 at first hide a dependence
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
        return torch.equal(*(network(picture)[..., :stride] for picture in (first, second)))


def _number(value: Any) -> int:
    return int(value[0]) if isinstance(value, tuple) else int(value)
