"""Standard errors of metrics from the sampling of pictures, by the bootstrap.

A bootstrap sample draws as many pictures as the split has, with replacement. The standard deviation of a metric
over many samples estimates how much it would vary between splits of this size. Source: Efron and Tibshirani, An
Introduction to the Bootstrap, 1993.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SAMPLES = 200
"""Number of bootstrap samples; the relative error of a standard error is then about 5 %."""

Sample = NDArray[np.int64]
"""Indices of the drawn units of a split, (units,); a unit is a picture or a small group of pictures."""


def standard_errors(compute: Callable[[Sample], dict[str, float]], units: int) -> dict[str, float]:
    """Return the bootstrap standard error of each metric, by its name; none for fewer than two units.

    ``compute`` returns the metrics of a sample. The same number of units gives the same samples, so methods have
    equal samples. A metric that a sample lacks, such as the IoU of a class in none of its pictures, is estimated
    from the other samples.
    """
    random = np.random.default_rng(0)
    values: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(SAMPLES if units > 1 else 0):
        for name, value in compute(random.integers(0, units, units)).items():
            values[name].append(value)
    return {name: float(np.nanstd(column, ddof=1)) for name, column in values.items() if len(column) > 1}
