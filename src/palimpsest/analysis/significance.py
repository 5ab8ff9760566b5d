"""Welch's t-test between methods over the seeds of their trainings.

Source: Welch, The generalization of Student's problem when several different population variances are involved,
Biometrika 1947. The tests are two-sided and not corrected for the number of pairs.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from scipy.stats import ttest_ind_from_stats

LEVEL = 0.05
"""Largest p-value of a significant difference."""


ROUNDING = 1e-9
"""Relative difference that two values may have by rounding alone."""


class Comparison(NamedTuple):
    """Comparison of two methods in one figure."""

    method: str
    other: str
    difference: float
    """Mean of the method minus mean of the other method, over the seeds."""
    p: float
    """p-value of Welch's test; NaN for fewer than two seeds."""


def p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of Welch's test; NaN if one of the samples has fewer than two values.

    Two samples without any variance, such as a base network that two methods share, give 1 for equal means and 0
    for different ones.
    """
    if min(len(first), len(second)) < 2:
        return math.nan
    if all(math.isclose(min(sample), max(sample), rel_tol=ROUNDING) for sample in (first, second)):
        return float(math.isclose(statistics.fmean(first), statistics.fmean(second), rel_tol=ROUNDING))
    moments = [(statistics.fmean(sample), statistics.stdev(sample), len(sample)) for sample in (first, second)]
    return float(ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue)


def best(badness: Mapping[str, Sequence[float]]) -> set[str]:
    """Return the methods that no other method beats significantly, given a number per seed, small for good values.

    A method beats another if its mean is smaller and the difference is significant. The set is empty if all methods
    have the same values, as with a base network that they share, or if one has a single value.
    """
    if not badness or any(len(values) < 2 for values in badness.values()):
        return set()
    if len({tuple(values) for values in badness.values()}) == 1:
        return set()
    means = {method: statistics.fmean(values) for method, values in badness.items()}
    return {
        method
        for method, values in badness.items()
        if not any(means[o] < means[method] and p_value(badness[o], values) < LEVEL for o in badness)
    }


def total_deviation(*deviations: float | None) -> float | None:
    """Return the deviation of independent sources of noise together: the root of the sum of the variances.

    Unknown deviations, None or NaN, are left out; the result is None if all are unknown.
    """
    known = [deviation for deviation in deviations if deviation is not None and math.isfinite(deviation)]
    return math.hypot(*known) if known else None


def comparisons(values: Mapping[str, Sequence[float]]) -> list[Comparison]:
    """Return the comparison of each pair of methods, given a number per seed for each method."""
    return [
        Comparison(
            method,
            other,
            statistics.fmean(values[method]) - statistics.fmean(values[other]),
            p_value(values[method], values[other]),
        )
        for method, other in combinations(values, 2)
    ]
