"""Experiments on the base of a mask: signs alone, rescaled filters, and networks of other tasks.

A mask's scores start in proportion to the magnitudes of the weights. Where an experiment changes magnitudes, scores
start at one value in all its conditions, so that only the network differs.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from palimpsest.explaining import FIXED, MASKED
from palimpsest.explaining.names import (
    AS_TRAINED,
    FIXED_BATCHNORM,
    LEARNED_BATCHNORM,
    NEW_MASK,
    NO_MASK,
    OCTAVES,
    OLD_MASK,
    RESCALED,
    SIGNS,
    UNTRAINED,
    WEIGHTS,
)
from palimpsest.explaining.workbench import Row, Workbench, masked, with_weights


def signs(bench: Workbench) -> Iterator[Row]:
    """Replace each weight of the base by its sign times the mean magnitude of its filter."""
    bits = bench.bits(bench.name)
    dimensions = bench.filter_dimensions
    means = {name: filter_means(weight.abs(), dimensions[name]) for name, weight in bench.weights().items()}
    reduced = with_weights(
        bench.base, {name: weight.sign() * means[name] for name, weight in bench.weights().items()}
    )
    for name, base in ((WEIGHTS, bench.base), (SIGNS, reduced)):
        yield Row(NEW_MASK, name, bench.learn(MASKED, base, equal_scores=True))
    for name, base in ((WEIGHTS, bench.base), (SIGNS, reduced)):
        yield Row(OLD_MASK, name, bench.learn(FIXED, masked(base, bits)))
        yield Row(NO_MASK, name, bench.learn(FIXED, base))


def rescaled(bench: Workbench) -> Iterator[Row]:
    """Multiply every filter of the base by a random factor, and learn masks with and without BatchNorm."""
    random = bench.random("rescale")
    scaled = {}
    for name, weight in bench.weights().items():
        shape = [1] * weight.ndim
        shape[bench.filter_dimensions[name]] = -1
        octaves = (2 * torch.rand(weight.shape[bench.filter_dimensions[name]], generator=random) - 1) * OCTAVES
        scaled[name] = weight * (2**octaves).view(shape)
    other = with_weights(bench.base, scaled)
    for condition, fixed in ((LEARNED_BATCHNORM, False), (FIXED_BATCHNORM, True)):
        for filters, base in ((AS_TRAINED, bench.base), (RESCALED, other)):
            learned = bench.learn(MASKED, base, fixed_normalisation=fixed, equal_scores=True)
            yield Row(condition, filters, learned)


def bases(bench: Workbench) -> Iterator[Row]:
    """Learn the task by masks over networks that learned each other task, and over an untrained network.

    The network of the task itself has no mask. That of the base task was trained for `base.steps`, the others for
    the steps of their tasks.
    """
    for task in bench.tasks:
        if task == bench.name:
            yield Row(task, bench.name, bench.trained_on(task))
        elif task == bench.base_task:
            yield Row(task, bench.name, bench.stored(MASKED, bench.name))
        else:
            yield Row(task, bench.name, bench.learn(MASKED, bench.trained_on(task)))
    yield Row(UNTRAINED, bench.name, bench.learn(MASKED, bench.untrained))


def filter_means(values: Tensor, dimension: int) -> Tensor:
    """Return the mean of each filter, broadcast over its weights; ``dimension`` is that of output channels."""
    others = [index for index in range(values.ndim) if index != dimension]
    return values.mean(others, keepdim=True).expand_as(values)
