"""Timing of two versions of the same work in alternation, so that load on the machine affects both."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """Result of a benchmark over its rounds."""

    ratio: float
    """Median."""
    low: float
    """Lower quartile."""
    high: float
    """Upper quartile."""
    unit: str


def spread(values: Sequence[float], unit: str) -> Ratio:
    """Return the median and quartiles of the values of all rounds."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return Ratio(round(middle, 4), round(low, 4), round(high, 4), unit)


def paired(ours: Callable[[], object], reference: Callable[[], object], rounds: int, unit: str) -> Ratio:
    """Measure the time of ``ours`` ÷ the time of ``reference`` in each of ``rounds`` rounds, after two of warm-up.

    The order of the two alternates from round to round.
    """
    values = []
    for number in range(rounds + 2):
        order = (ours, reference) if number % 2 else (reference, ours)
        times = {work: seconds(work) for work in order}
        values.append(times[ours] / times[reference])
    return spread(values[2:], unit)


def seconds(work: Callable[[], object]) -> float:
    """Run ``work`` and return its seconds, including those of its work on the GPU."""
    synchronise()
    start = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - start


def synchronise() -> None:
    """Wait until the GPU has finished its pending work; do nothing without a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
