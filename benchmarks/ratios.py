"""Two ways of doing the same work, timed in turns, so that a busy moment of the machine meets both."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """What was measured: a median, the quartiles around it, and what the figure is."""

    ratio: float
    low: float
    high: float
    unit: str


def spread(values: Sequence[float], unit: str) -> Ratio:
    """Median and quartiles of some values."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return Ratio(round(middle, 4), round(low, 4), round(high, 4), unit)


def paired(ours: Callable[[], object], other: Callable[[], object], rounds: int, unit: str) -> Ratio:
    """Time of ``ours`` ÷ time of ``other``; each goes first in every second round; two rounds warm up."""
    values = []
    for turn in range(rounds + 2):
        first, second = (ours, other) if turn % 2 else (other, ours)
        times = {work: seconds(work) for work in (first, second)}
        values.append(times[ours] / times[other])
    return spread(values[2:], unit)


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes, what it left to a GPU included."""
    synchronise()
    begun = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - begun


def synchronise() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
