"""Properties of a trained mask: which weights it drops, and how much it has in common with other masks."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from palimpsest.explaining import MASKED
from palimpsest.explaining.names import (
    AFTER_EQUAL_START,
    BY_MAGNITUDE,
    BY_OFFSET,
    BY_SIGN,
    CLASSES,
    EARLIER,
    LAYERS,
    OFFSETS,
    SAME_TASK,
)
from palimpsest.explaining.workbench import Bits, Figures, Workbench
from palimpsest.methods.base import State

OTHER_SEED = 1000
"""Difference between the seeds of two trainings of one task."""


def dropped(bench: Workbench) -> Iterator[Figures]:
    """Count the zeros of a mask by the magnitude of the base's weights, and by their offset in 3 × 3 kernels.

    Scores start in proportion to magnitudes, so that small weights are masked more easily; the count by magnitude
    is repeated for a mask whose scores started at one value.
    """
    bits, weights = bench.bits(bench.name), bench.weights()
    equal = bits_of(bench.learn(MASKED, bench.base, equal_scores=True), weights)
    classes = {name: magnitude_classes(weight) for name, weight in weights.items()}
    for condition, mask in ((BY_MAGNITUDE, bits), (AFTER_EQUAL_START, equal)):
        for number in range(CLASSES):
            chosen = {name: of_layer == number for name, of_layer in classes.items()}
            yield Figures(condition, number + 1, {"zeros": share_of_zeros(mask, chosen)})
    steps = (torch.arange(3) - 1).abs()
    distances = steps[:, None] + steps[None]
    for distance, name in OFFSETS.items():
        at = {layer: (distances == distance).expand_as(bits[layer]) for layer in bits if is_3x3(bits[layer])}
        if at:
            yield Figures(BY_OFFSET, name, {"zeros": share_of_zeros(bits, at)})


def alike(bench: Workbench) -> Iterator[Figures]:
    """Compare the mask with that of each earlier task, and with one of the same task that another seed learned.

    The other seed has other batches and another first head. Similarity is the share of positions at which both
    masks have the same bit. Its expected value for independent masks takes the shares of zeros from each class of
    magnitude of each layer, because masks agree in these shares whatever they learn.
    """
    bits, weights = bench.bits(bench.name), bench.weights()
    for task in bench.earlier_masks:
        yield Figures(task, bench.name, similarity(bits, bench.bits(task), weights))
    learned = bench.learn(MASKED, bench.base, seed=bench.seed + OTHER_SEED)
    yield Figures(SAME_TASK, bench.name, similarity(bits, bits_of(learned, weights), weights))


def shorter(bench: Workbench) -> Iterator[Figures]:
    """Count the bits of a mask at its entropy, with the frequencies of each layer or of contexts within the layers.

    Contexts are known when a mask is decoded: the base network, and masks of earlier tasks. The size includes the
    counts of all contexts.
    """
    bits, weights = bench.bits(bench.name), bench.weights()
    contexts = {
        LAYERS: {name: torch.zeros(weight.shape, dtype=torch.int64) for name, weight in weights.items()},
        BY_MAGNITUDE: {name: magnitude_classes(weight) for name, weight in weights.items()},
        BY_SIGN: {name: (weight > 0).long() for name, weight in weights.items()},
        BY_OFFSET: {name: offsets(weight) for name, weight in weights.items()},
    }
    for condition, context in contexts.items():
        yield Figures(condition, bench.name, {"bits": bits_per_weight(bits, context)})
    for task in bench.earlier_masks:
        earlier = {name: kept.long() for name, kept in bench.bits(task).items()}
        yield Figures(f"{EARLIER}{task}", bench.name, {"bits": bits_per_weight(bits, earlier)})


def bits_of(learned: State, weights: Bits) -> Bits:
    """Return the mask of a network with masked weights over these weights of the base."""
    return {name: learned[f"{name}.weight"] == weight for name, weight in weights.items()}


def offsets(weight: Tensor) -> Tensor:
    """Return the number of each weight's offset in its kernel, in the shape of the weight."""
    of_kernel = torch.arange(weight[0, 0].numel())
    return of_kernel.view(weight.shape[2:]).expand_as(weight)


def bits_per_weight(bits: Bits, contexts: Bits) -> float:
    """Return the size of a mask by the frequencies in each layer and context, with the counts, in bits per weight.

    ``contexts`` has the number of each weight's context, int64 from 0 in the shape of the weight.
    """
    size, weights = 0.0, 0
    for name, kept in bits.items():
        context = contexts[name].flatten()
        numbers = torch.bincount(context).double()
        ones = torch.bincount(context, kept.flatten().double())
        shares = (ones / numbers.clamp(min=1)).clamp(0, 1)
        entropy = -(torch.xlogy(shares, shares) + torch.xlogy(1 - shares, 1 - shares)) / math.log(2)
        size += float((numbers * entropy + (numbers + 1).log2()).sum())
        weights += kept.numel()
    return size / weights


def magnitude_classes(weight: Tensor) -> Tensor:
    """Return the class of each weight by its rank among the magnitudes of the layer, 0 to `CLASSES` − 1."""
    ranks = weight.abs().flatten().argsort(stable=True).argsort()
    return (ranks * CLASSES // weight.numel()).view(weight.shape)


def is_3x3(weight: Tensor) -> bool:
    """Return whether a weight has kernels of 3 × 3."""
    return weight.shape[2:] == (3, 3)


def share_of_zeros(bits: Bits, chosen: Bits) -> float:
    """Return the share of zeros among the chosen positions of all layers; NaN if none is chosen."""
    return float(torch.cat([~bits[name][of_layer] for name, of_layer in chosen.items()]).float().mean())


def similarity(bits: Bits, other: Bits, weights: Bits) -> dict[str, float]:
    """Return the similarity of two masks over these weights, and its expected value for independent masks.

    The latter is for masks with the same share of zeros in each class of magnitude of each layer.
    """
    equal, expected, number = 0.0, 0.0, 0
    for name, weight in weights.items():
        classes = magnitude_classes(weight).flatten()
        first, second = (mask[name].flatten().double() for mask in (bits, other))
        numbers = torch.bincount(classes, minlength=CLASSES).double()
        p, q = (torch.bincount(classes, mask, CLASSES) / numbers.clamp(min=1) for mask in (first, second))
        expected += float((numbers * (p * q + (1 - p) * (1 - q))).sum())
        equal += float((first == second).sum())
        number += weight.numel()
    return {"similarity": equal / number, "independent": expected / number}
