"""Initialisation of an auto-encoder as a wavelet transform and its inverse, so that it returns its input.

Each downsampling layer splits every channel, details included, into the mean and three details of 2×2 pixels (Haar
wavelets). If a layer has too few channels, it drops the highest frequencies, those of colour before those of
luminance. ReLU would remove negative values: each channel therefore has a constant offset, which the upsampling
layer subtracts with the help of one channel that is always 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

HAAR = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 2
"""Haar wavelets of 2×2 pixels, orthonormal: mean, then horizontal, vertical and diagonal details."""
OPPONENT = nn.functional.normalize(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]]))
"""Matrix from RGB to luminance and two colour differences, orthonormal."""
OFFSET = 2.0
"""Constant added to luminance and colour differences of pictures in [-1, 1], which makes them positive."""


@dataclass(frozen=True)
class Signal:
    """Wavelet coefficient that one channel of a layer carries."""

    colour: int
    """Row of `OPPONENT`: 0 for luminance."""
    frequency: int
    """0 for the mean; finer details have higher frequencies."""
    offset: float
    """Constant added to the coefficient, so that ReLU keeps negative values."""
    source: int = 0
    """Input channel of the layer from which the coefficient is computed."""
    band: int = 0
    """Row of `HAAR` that computes the coefficient."""


@torch.no_grad()
def init_wavelets(
    first: nn.Conv2d, down: Sequence[nn.Conv2d], up: Sequence[nn.ConvTranspose2d], last: nn.Conv2d
) -> None:
    """Initialise the layers of an auto-encoder with ReLUs between them, in place, so that it returns its input.

    ``first`` and ``last`` map between RGB and features and have odd sizes; ``down`` are 3×3 convolutions of stride
    2, ``up`` 2×2 transposed convolutions. Channels without a `Signal` keep their weights and do not affect the
    others.
    """
    signals = [Signal(colour, 0, OFFSET) for colour in range(min(3, first.out_channels))]
    colours = OPPONENT[: len(signals)]
    assert first.bias is not None and last.bias is not None
    set_centre(first.weight[: len(signals)], colours)
    first.bias[: len(signals)] = OFFSET
    levels = [signals]
    for number, layer in enumerate(down):
        bands = split(levels[-1], finest=2 ** (len(down) - 1 - number), offset=2.0**number)
        levels.append(bands[: layer.out_channels - 1])
        analyse(layer, levels[-2], levels[-1])
    for number, step in enumerate(up):
        synthesise(step, levels[-1 - number], levels[-2 - number], is_last=number == len(up) - 1)
    last.weight.zero_()
    set_centre(last.weight[:, : len(signals)], colours.T)
    last.bias.copy_(-OFFSET * colours.sum(0))


def split(signals: Sequence[Signal], finest: int, offset: float) -> list[Signal]:
    """Return the signals after a downsampling layer: mean and three details of each signal, the most visible first.

    A detail has the frequency of its signal plus ``finest`` (twice that if diagonal), and the offset ``offset``.
    """
    bands = [
        Signal(
            signal.colour,
            signal.frequency + finest * (0, 1, 1, 2)[band],
            offset if band else 2 * signal.offset,  # the orthonormal mean of four equal pixels is twice their value
            source,
            band,
        )
        for source, signal in enumerate(signals)
        for band in range(4)
    ]
    return sorted(bands, key=lambda s: s.frequency if s.colour == 0 else 2 * s.frequency + 1)


def analyse(layer: nn.Conv2d, before: Sequence[Signal], after: Sequence[Signal]) -> None:
    """Initialise a downsampling layer that computes the signals ``after`` from the signals ``before``, in place.

    The last output channel is always 1.
    """
    assert layer.bias is not None
    layer.weight[: len(after)] = 0
    for channel, signal in enumerate(after):
        layer.weight[channel, signal.source, 1:, 1:] = HAAR[signal.band]
        input_offset = 2 * before[signal.source].offset if signal.band == 0 else 0.0
        layer.bias[channel] = signal.offset - input_offset
    set_constant_channel(layer.weight[-1], layer.bias)


def synthesise(
    layer: nn.ConvTranspose2d, before: Sequence[Signal], after: Sequence[Signal], *, is_last: bool
) -> None:
    """Initialise an upsampling layer that restores the signals ``after`` from their mean and details, ``before``.

    The last output channel is always 1, unless the layer ``is_last`` of the upsampling layers.
    """
    assert layer.bias is not None
    layer.weight[:, : len(after)] = 0
    offsets = torch.zeros(len(after), 2, 2)
    for channel, signal in enumerate(before):
        layer.weight[channel, signal.source] = HAAR[signal.band]
        offsets[signal.source] += signal.offset * HAAR[signal.band]
    expected = torch.tensor([signal.offset for signal in after])
    layer.weight[-1, : len(after)] = expected[:, None, None] - offsets
    layer.bias[: len(after)] = 0
    if not is_last:
        set_constant_channel(layer.weight[:, -1], layer.bias)


def set_constant_channel(weight: Tensor, bias: Tensor) -> None:
    """Set a layer's last output channel, whose kernels are ``weight``, to 1 for any input, in place."""
    weight[:] = 0
    bias[-1] = 1


def set_centre(weight: Tensor, values: Tensor) -> None:
    """Set kernels (out, in, h, w) of odd size to zero and their centres to ``values`` (out, in), in place."""
    weight.zero_()
    weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] = values
