"""Functions of the experiments: each yields the networks to measure for one task, or figures of its mask."""

from collections.abc import Callable, Iterator

from palimpsest.explaining import bases, bits, kinds, masks, parts
from palimpsest.explaining.workbench import Figures, Row, Workbench

FUNCTIONS: dict[str, Callable[[Workbench], Iterator[Row] | Iterator[Figures]]] = {
    "dropped": masks.dropped,
    "alike": masks.alike,
    "shorter": masks.shorter,
    "kinds": kinds.kinds,
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
