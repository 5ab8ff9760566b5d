"""Frequency tables of an entropy coder, computed from counts in integers, so that they are equal on every machine.

A table has an entry per symbol; all entries are positive, and their sum is `TOTAL`.
"""

import numpy as np
from numpy.typing import NDArray

BITS = 24
"""Binary digits of a frequency."""
TOTAL = 1 << BITS
"""Sum of the frequencies of a table."""
LONGEST = 255
"""Symbol of a `run_table` that continues a run: so many zeros, followed by another symbol."""

Table = NDArray[np.int64]
"""Frequencies of the symbols 0, 1, 2, …"""


def run_table(zeros: int, others: int) -> Table:
    """Return the table of the lengths of runs of zeros, 0 to `LONGEST`, for integers in random order.

    ``others`` is the number of integers that are not zero, at least 1. A length has a geometric distribution, which
    has no memory, so that a run can be continued without loss.
    """
    ratio = (zeros << 32) // (zeros + others)
    above = []  # share of the symbols from each one on, in units of 2⁻³²
    share = 1 << 32
    for _ in range(LONGEST + 1):
        above.append(share)
        share = (share * ratio) >> 32
    # each symbol keeps a frequency of at least 1; the last one has the share of all longer runs
    bounds = (np.array([*above, 0]) * (TOTAL - LONGEST - 1)) >> 32
    table: Table = bounds[:-1] - bounds[1:] + 1
    return table


def value_table(counts: Table) -> Table:
    """Return the table in proportion to the counts of at least two symbols, of which at least one is above 0."""
    table: Table = counts * (TOTAL - len(counts)) // counts.sum() + 1
    table[np.argmax(counts)] += TOTAL - table.sum()
    return table
