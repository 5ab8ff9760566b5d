"""Experiments on the bits of a trained mask: flipped, reduced to those that matter, shuffled."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from palimpsest.explaining import FIXED
from palimpsest.explaining.masks import magnitude_classes
from palimpsest.explaining.names import (
    AS_LEARNED,
    AT_RANDOM,
    BY_REMOVAL,
    BY_RETURN,
    FLIPPED,
    IN_CLASSES,
    IN_FILTERS,
    IN_LAYERS,
    KEPT,
    LARGEST,
    ONES,
    RECOMPUTED,
    STORED,
)
from palimpsest.explaining.workbench import Bits, Row, Workbench, masked


def flipped(bench: Workbench) -> Iterator[Row]:
    """Flip a share of the bits at random; BatchNorm and head stay as stored, or get new statistics."""
    bits, whole = bench.bits(bench.name), bench.unmasked()
    for share in FLIPPED:
        random = bench.random("flip")  # the same bits, and more, at every share
        changed = {
            name: of_layer ^ (torch.rand(of_layer.shape, generator=random) < share)
            for name, of_layer in bits.items()
        }
        state = masked(whole, changed)
        yield Row(STORED, share, state)
        yield Row(RECOMPUTED, share, bench.with_statistics(state))


def important(bench: Workbench) -> Iterator[Row]:
    """Keep only a share of the zeros of a mask, and restore the base's weights at the others.

    Zeros are ordered by two estimates to first order, each the gradient of the loss times the base's weight: at the
    masked network it estimates the change of the loss if the weight returns; at the network without mask the
    negative change when the weight is removed. Statistics of BatchNorm are computed again; its scale and shift, and
    the head, stay those that were learned with all zeros.
    """
    bits, whole = bench.bits(bench.name), bench.unmasked()
    weights, random = bench.weights(), bench.random("important")
    at_mask = bench.gradients(masked(whole, bits))
    at_base = bench.gradients(bench.with_statistics(whole))
    orders = {
        BY_RETURN: {name: at_mask[name] * weight for name, weight in weights.items()},
        BY_REMOVAL: {name: at_base[name] * weight for name, weight in weights.items()},
        LARGEST: {name: weight.abs() for name, weight in weights.items()},
        AT_RANDOM: {name: torch.rand(weight.shape, generator=random) for name, weight in weights.items()},
    }
    for condition, values in orders.items():
        for share in KEPT:
            state = masked(whole, keep_zeros(bits, values, share))
            yield Row(condition, share, bench.with_statistics(state))


def keep_zeros(bits: Bits, values: Bits, share: float) -> dict[str, Tensor]:
    """Return the mask with only this share of its zeros, those with the largest values over all layers."""
    kept = torch.cat([of_layer.flatten() for of_layer in bits.values()])
    zeros = (~kept).nonzero()[:, 0]
    of_zeros = torch.cat([values[name].flatten() for name in bits])[zeros]
    restored = torch.ones_like(kept)
    restored[zeros[of_zeros.topk(round(share * len(zeros))).indices]] = False
    ends = np.cumsum([of_layer.numel() for of_layer in bits.values()])
    return {
        name: restored[end - of_layer.numel() : end].view(of_layer.shape)
        for (name, of_layer), end in zip(bits.items(), ends.tolist(), strict=True)
    }


def shuffled(bench: Workbench) -> Iterator[Row]:
    """Move the bits of a mask to random places, then train BatchNorm and head again over the fixed weights.

    Within the classes of magnitude of a layer, the shuffled zeros remove weights as large as the mask's.
    """
    bits, weights, random = bench.bits(bench.name), bench.weights(), bench.random("shuffle")
    in_filters = {
        name: shuffled_in_filters(of_layer, bench.filter_dimensions[name], random)
        for name, of_layer in bits.items()
    }
    masks = {
        AS_LEARNED: bits,
        IN_FILTERS: in_filters,
        IN_LAYERS: {name: shuffled_in_filters(of_layer[None], 0, random)[0] for name, of_layer in bits.items()},
        IN_CLASSES: {
            name: shuffled_in_classes(of_layer, magnitude_classes(weights[name]), random)
            for name, of_layer in bits.items()
        },
        ONES: {name: torch.ones_like(of_layer) for name, of_layer in bits.items()},
    }
    for condition, mask in masks.items():
        yield Row(condition, bench.name, bench.learn(FIXED, masked(bench.base, mask)))


def shuffled_in_filters(mask: Tensor, dimension: int, random: torch.Generator) -> Tensor:
    """Return a mask with the bits of each filter in a random order; ``dimension`` is that of output channels."""
    filters = mask.movedim(dimension, 0)
    rows = filters.flatten(1)
    moved = rows.gather(1, torch.rand(rows.shape, generator=random).argsort(1))
    return moved.view(filters.shape).movedim(0, dimension)


def shuffled_in_classes(mask: Tensor, classes: Tensor, random: torch.Generator) -> Tensor:
    """Return a mask with the bits of each class in a random order; ``classes`` has the class of each weight."""
    bits, numbers = mask.flatten(), classes.flatten()
    moved = bits.clone()
    for number in range(int(numbers.max()) + 1):
        places = (numbers == number).nonzero()[:, 0]
        moved[places] = bits[places[torch.rand(len(places), generator=random).argsort()]]
    return moved.view(mask.shape)
