"""Masks, layer by layer: the share of zeros, and how much two tasks' masks agree beyond chance."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from palimpsest.methods.base import MASK
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.storage.stored_tasks import StoredTasks

Mask = dict[str, NDArray[np.bool_]]
"""Flat bits by layer; of ternary masks, too, whether a weight takes part."""


def masks_of(stored: StoredTasks) -> dict[str, Mask]:
    """The masks of all tasks that have one, and a mask of ones for the base task; empty where none has."""
    found: dict[str, Mask] = {}
    for task in stored.sequence[1:]:
        file = stored.file(task)
        for component in file.components:
            if component.name == MASK:
                kept = component.kept
                found[task] = {
                    name: np.unpackbits(kept[name].numpy(), count=layer.weight.numel()).astype(np.bool_)
                    for name, layer in trunk_layers(build_network(file.network, head_channels=1))
                    if name in kept
                }
    if not found:
        return {}
    ones = {name: np.ones_like(bits) for name, bits in next(iter(found.values())).items()}
    return {stored.sequence[0]: ones, **found}


def zeros(masks: dict[str, Mask]) -> list[dict[str, object]]:
    """The share of zeros of each learned mask (the base's ones are left out): task, layer, weights, zeros.

    One row per layer in the order of the network, and one for ``all`` of them.
    """
    rows: list[dict[str, object]] = []
    for task, mask in list(masks.items())[1:]:
        for layer, bits in [*mask.items(), ("all", flat(mask))]:
            rows.append({"task": task, "layer": layer, "weights": bits.size, "zeros": 1 - float(bits.mean())})
    return rows


def similarity(masks: dict[str, Mask]) -> list[dict[str, object]]:
    """One row per pair of tasks: task, other, similarity, independent.

    Similarity is the share of positions at which both masks hold the same bit. Two independent masks with
    shares of ones p and q agree at p·q + (1 − p)(1 − q): only what lies above that is agreement.
    """
    rows: list[dict[str, object]] = []
    for other, task in combinations(masks, 2):
        a, b = flat(masks[task]), flat(masks[other])
        p, q = float(a.mean()), float(b.mean())
        rows.append(
            {
                "task": task,
                "other": other,
                "similarity": float((a == b).mean()),
                "independent": p * q + (1 - p) * (1 - q),
            }
        )
    return rows


def flat(mask: Mask) -> NDArray[np.bool_]:
    """All bits of a mask in the order of the network."""
    return np.concatenate(list(mask.values()))
