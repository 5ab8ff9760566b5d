"""Experiments on the bits of a trained mask: flipped, reduced to those that matter, shuffled."""

from collections.abc import Iterator

import torch
from torch import Tensor

from palimpsest.explaining import FIXED
from palimpsest.explaining.workbench import Bits, Row, Workbench, masked

FLIPPED = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of flipped bits."""
KEPT = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the zeros of a mask that stay zeros."""
STORED, RECOMPUTED = "statistics as stored", "statistics computed again"
BY_RETURN, BY_REMOVAL = "by the loss if they return", "by the loss when removed"
LARGEST, AT_RANDOM = "of the largest weights", "at random"
AS_LEARNED, IN_FILTERS, IN_LAYERS, ONES = "as learned", "shuffled in filters", "shuffled in layers", "all ones"


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

    Two first-order estimates say how much a zero matters, both the gradient of the loss times the base's weight: at
    the masked network, the change of the loss if the weight returns; at the network without mask, the negative
    change when the weight is removed. Statistics of BatchNorm are computed again.
    """
    bits, whole = bench.bits(bench.name), bench.unmasked()
    weights, random = bench.weights(), bench.random("important")
    at_mask = bench.gradients(masked(whole, bits))
    at_base = bench.gradients(bench.with_statistics(whole))
    orders = {
        BY_RETURN: {name: at_mask[name].cpu() * weight for name, weight in weights.items()},
        BY_REMOVAL: {name: at_base[name].cpu() * weight for name, weight in weights.items()},
        LARGEST: {name: weight.abs() for name, weight in weights.items()},
        AT_RANDOM: {name: torch.rand(weight.shape, generator=random) for name, weight in weights.items()},
    }
    for condition, values in orders.items():
        for share in KEPT:
            state = masked(whole, keep_zeros(bits, values, share))
            yield Row(condition, share, bench.with_statistics(state))


def keep_zeros(bits: Bits, values: Bits, share: float) -> dict[str, Tensor]:
    """Return the mask with only this share of its zeros, those with the largest values over all layers."""
    of_zeros = torch.cat([values[name][~of_layer] for name, of_layer in bits.items()])
    number = round(share * len(of_zeros))
    if number == 0:
        return {name: torch.ones_like(of_layer) for name, of_layer in bits.items()}
    smallest = of_zeros.topk(number).values[-1]
    return {name: of_layer | (values[name] < smallest) for name, of_layer in bits.items()}


def shuffled(bench: Workbench) -> Iterator[Row]:
    """Move the bits of a mask to random places, then train BatchNorm and head again over the fixed weights."""
    bits, random = bench.bits(bench.name), bench.random("shuffle")
    in_filters = {
        name: shuffled_in_filters(of_layer, bench.filter_dimensions[name], random)
        for name, of_layer in bits.items()
    }
    masks = {
        AS_LEARNED: bits,
        IN_FILTERS: in_filters,
        IN_LAYERS: {name: shuffled_in_filters(of_layer[None], 0, random)[0] for name, of_layer in bits.items()},
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
