"""Size of a code of integers as a part of a training: what a change costs, and how the costs are weighted.

The integers of a stream of a layer are coded with their frequencies (`palimpsest.coding.sparse`). Costs come from a
simpler distribution: zero or not, one bit for the sign, and a geometric magnitude.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

FIRST_FACTOR = 5e-3
"""Factor of the costs at first, in learning rates per bit."""
PROPORTIONAL, INTEGRAL = 2.0, 10.0
"""Gains of the steering: of the present error, and of the sum of errors over the steps of the ramp. The error is
the logarithm of the size divided by the size that is expected."""
MARGIN = 1.06
"""Size at which steering aims, as a multiple of the budget; the smallest changes above the budget are dropped when
integers are frozen. Once the learning rate is small, a size below the budget could not grow again."""
PRECISION = 1e-3
"""Precision of a `smallest_threshold`."""


@dataclass(frozen=True)
class Costs:
    """Costs of the integers of one stream of a layer, in bits; each is a scalar."""

    first: Tensor
    """Bits of a change from 0 to ±1, at least 0."""
    more: Tensor
    """Bits of a change to the next larger magnitude."""
    bits: Tensor
    """Size of all integers."""


def costs_of(latent: Tensor) -> Costs:
    """Return the costs of real numbers, of any shape, rounded to integers."""
    magnitude, number = latent.abs().round(), latent.numel()
    nonzero = (magnitude > 0).sum()
    excess = magnitude.sum() - nonzero
    share = (nonzero + 0.5) / (number + 1)  # as after one more half of an integer; never 0 or 1
    larger = (excess + 0.5) / (excess + nonzero + 1)
    zero_bits, one_bits, more = -(1 - share).log2(), 1 - share.log2() - (1 - larger).log2(), -larger.log2()
    bits = (number - nonzero) * zero_bits + nonzero * one_bits + excess * more
    return Costs((one_bits - zero_bits).clamp(min=0), more, bits)


@dataclass
class Pressure:
    """Factor of the costs, steered so that the size of the code follows a curve to its budget."""

    logarithm: float = 0.0
    """Logarithm of the factor, relative to `FIRST_FACTOR`; at least 0."""
    first_bits: float = 0.0
    """Start of the curve: the size of the code at the first call of `steer`, or the end of the curve if that is
    larger; 0 before."""

    @property
    def state(self) -> tuple[float, float]:
        """Values of the fields."""
        return self.logarithm, self.first_bits

    def steer(self, bits: float, budget: float, share: float, steps: float) -> float:
        """Return the factor for a size of ``bits``.

        ``share`` is the fraction of the way to the budget, which takes ``steps`` steps. While the code is smaller
        than its budget, as at first with a large one, the sum of errors stays at 0; otherwise the factor would be
        too small for many steps afterwards.
        """
        goal = MARGIN * budget
        self.first_bits = self.first_bits or max(bits, goal)
        expected = self.first_bits ** (1 - share) * goal**share
        error = math.log(bits / expected)
        self.logarithm = max(0.0, self.logarithm + INTEGRAL / max(1.0, steps) * error)
        return FIRST_FACTOR * math.exp(self.logarithm + PROPORTIONAL * error)


def ramp(progress: float, start: float, end: float) -> float:
    """Return how far ``progress`` is on the way from ``start`` to ``end``, from 0 to 1."""
    return min(1.0, max(0.0, (progress - start) / (end - start))) if end > start else float(progress > start)


def smallest_threshold(size: Callable[[float], int], budget: float, largest: float) -> float:
    """Return the smallest threshold, at least ½, with which ``size`` is at most ``budget``.

    ``size`` falls with the threshold, and stays above ``largest``; if it is above the budget there, that is the
    result.
    """
    low, high = 0.5, 0.5
    while high <= largest and size(high) > budget:
        low, high = high, 2 * high
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) > budget else (low, middle)
    return high
