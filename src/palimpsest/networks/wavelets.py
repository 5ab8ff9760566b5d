"""An auto-encoder that starts as a wavelet transform and its inverse, so that it returns its input from the start.

Each step down splits every channel into a mean and three details of 2×2 pixels (Haar's wavelets), the details
again at the next step; where channels run short the highest frequencies go, those of colour before those of
luminance. ReLU would cut off what is negative: each channel is lifted above zero by a constant, which the step up
takes off again with the help of one channel that is always 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

HAAR = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 2
"""Mean, and details across, down and diagonal: orthonormal."""
OPPONENT = nn.functional.normalize(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]]))
"""Luminance and two colour differences of RGB: orthonormal."""
LIFT = 2.0
"""Offset that makes `OPPONENT` of pictures in [-1, 1] positive."""


@dataclass(frozen=True)
class Signal:
    """Content of one channel."""

    colour: int
    """A row of `OPPONENT`."""
    frequency: int
    """0 for the mean; the finest details of the first step have the highest."""
    lift: float
    """The constant that it stands above its value."""
    source: int = 0
    """The channel of the step before that it is made of, by ``band`` of `HAAR`."""
    band: int = 0


@torch.no_grad()
def start_as_wavelets(
    first: nn.Conv2d, down: Sequence[nn.Conv2d], up: Sequence[nn.ConvTranspose2d], last: nn.Conv2d
) -> None:
    """Set the weights of an auto-encoder of ReLUs: ``first`` and ``last`` between RGB and features, of odd size;
    steps down of 3×3 and stride 2, steps up of 2×2.

    Channels that hold no signal keep the weights they have, and nothing of them reaches a signal.
    """
    signals = [Signal(colour, 0, LIFT) for colour in range(min(3, first.out_channels))]
    colours = OPPONENT[: len(signals)]
    assert first.bias is not None and last.bias is not None
    set_centre(first.weight[: len(signals)], colours)
    first.bias[: len(signals)] = LIFT
    levels = [signals]
    for number, layer in enumerate(down):
        found = split(levels[-1], finest=2 ** (len(down) - 1 - number), lift=2.0**number)
        levels.append(found[: layer.out_channels - 1])
        analyse(layer, levels[-2], levels[-1])
    for number, step in enumerate(up):
        synthesise(step, levels[-1 - number], levels[-2 - number], innermost=number == len(up) - 1)
    last.weight.zero_()
    set_centre(last.weight[:, : len(signals)], colours.T)
    last.bias.copy_(-LIFT * colours.sum(0))


def split(signals: Sequence[Signal], finest: int, lift: float) -> list[Signal]:
    """Return the means and details of signals, what is seen best first; of a detail ``finest`` is the frequency."""
    found = [
        Signal(
            signal.colour,
            signal.frequency + finest * (0, 1, 1, 2)[band],
            lift if band else 2 * signal.lift,  # of four equal pixels the mean is twice as large
            source,
            band,
        )
        for source, signal in enumerate(signals)
        for band in range(4)
    ]
    return sorted(found, key=lambda s: s.frequency if s.colour == 0 else 2 * s.frequency + 1)


def analyse(layer: nn.Conv2d, before: Sequence[Signal], after: Sequence[Signal]) -> None:
    """Make a step down of signals, and the channel that is always 1."""
    assert layer.bias is not None
    layer.weight[: len(after)] = 0
    for channel, signal in enumerate(after):
        layer.weight[channel, signal.source, 1:, 1:] = HAAR[signal.band]
        arrives = 2 * before[signal.source].lift if signal.band == 0 else 0.0
        layer.bias[channel] = signal.lift - arrives
    always_one(layer.weight[-1], layer.bias)


def synthesise(
    layer: nn.ConvTranspose2d, before: Sequence[Signal], after: Sequence[Signal], *, innermost: bool
) -> None:
    """Make a step up, back to the signals that ``before`` was split from."""
    assert layer.bias is not None
    layer.weight[:, : len(after)] = 0
    lifts = torch.zeros(len(after), 2, 2)
    for channel, signal in enumerate(before):
        layer.weight[channel, signal.source] = HAAR[signal.band]
        lifts[signal.source] += signal.lift * HAAR[signal.band]
    expected = torch.tensor([signal.lift for signal in after])
    layer.weight[-1, : len(after)] = expected[:, None, None] - lifts
    layer.bias[: len(after)] = 0
    if not innermost:
        always_one(layer.weight[:, -1], layer.bias)


def always_one(weight: Tensor, bias: Tensor) -> None:
    """Make the last channel of a layer 1, whatever comes in."""
    weight[:] = 0
    bias[-1] = 1


def set_centre(weight: Tensor, values: Tensor) -> None:
    """Make kernels (out, in, h, w) of odd size zero but for their middle, (out, in)."""
    weight.zero_()
    weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] = values
