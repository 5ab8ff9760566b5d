"""Statistics of masks: share of zeros per layer, and similarity of two masks compared with independent masks."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from palimpsest.methods.base import MASK
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.storage.stored_tasks import StoredTasks

MaskBits = dict[str, NDArray[np.bool_]]
"""Bits of a mask by layer, flat; 1 for a weight that the task uses, also in ternary masks."""


def masks_of(stored: StoredTasks) -> dict[str, MaskBits]:
    """Return the mask of each task that has one, after a mask of ones for the first task; empty without masks.

    The first task trained the base network and uses all its weights.
    """
    masks: dict[str, MaskBits] = {}
    for task in stored.sequence[1:]:
        file = stored.open(task)
        for component in file.components:
            if component.name == MASK:
                bits = component.mask_bits
                masks[task] = {
                    name: np.unpackbits(bits[name].numpy(), count=layer.weight.numel()).astype(np.bool_)
                    for name, layer in trunk_layers(build_network(file.network, head_channels=1))
                    if name in bits
                }
    if not masks:
        return {}
    ones = {name: np.ones_like(bits) for name, bits in next(iter(masks.values())).items()}
    return {stored.sequence[0]: ones, **masks}


def zero_rows(masks: dict[str, MaskBits]) -> list[dict[str, object]]:
    """Return the rows of `zeros.csv`, the share of zeros of each learned mask: task, layer, weights, zeros.

    ``weights`` is the number of bits. There is one row per layer, in the order of the network, and one for the
    layer ``all``. The mask of ones of the first task is left out.
    """
    rows: list[dict[str, object]] = []
    for task, mask in list(masks.items())[1:]:
        for layer, bits in [*mask.items(), ("all", flat(mask))]:
            rows.append({"task": task, "layer": layer, "weights": bits.size, "zeros": 1 - float(bits.mean())})
    return rows


def similarity_rows(masks: dict[str, MaskBits]) -> list[dict[str, object]]:
    """Return the rows of `similarity.csv`, one per pair of tasks: task, other, similarity, independent.

    ``other`` is the earlier task. ``similarity`` is the share of positions at which both masks have the same bit.
    ``independent`` is its expected value p·q + (1 − p)(1 − q) for independent masks with shares of ones p and q.
    """
    rows: list[dict[str, object]] = []
    for earlier, task in combinations(masks, 2):
        a, b = flat(masks[task]), flat(masks[earlier])
        p, q = float(a.mean()), float(b.mean())
        rows.append(
            {
                "task": task,
                "other": earlier,
                "similarity": float((a == b).mean()),
                "independent": p * q + (1 - p) * (1 - q),
            }
        )
    return rows


def flat(mask: MaskBits) -> NDArray[np.bool_]:
    """Return all bits of a mask in one array, in the order of the layers of the network."""
    return np.concatenate(list(mask.values()))
