"""Functions of the experiments: each yields the networks to measure for one task."""

from collections.abc import Callable, Iterator

from palimpsest.explaining import bases, bits, parts
from palimpsest.explaining.workbench import Row, Workbench

FUNCTIONS: dict[str, Callable[[Workbench], Iterator[Row]]] = {
    "flipped": bits.flipped,
    "important": bits.important,
    "signs": bases.signs,
    "rescaled": bases.rescaled,
    "shuffled": bits.shuffled,
    "bases": bases.bases,
    "parts": parts.parts,
    "exchanged": parts.exchanged,
}
"""Functions by the names of `EXPERIMENTS`."""
