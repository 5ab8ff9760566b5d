"""Experiments on the parts of a stored task: mask, BatchNorm and head, alone and exchanged between tasks."""

from collections.abc import Iterator

from palimpsest.explaining import FIXED, MASKED
from palimpsest.explaining.names import NO_MASK, PARTS
from palimpsest.explaining.workbench import Row, Workbench, masked


def parts(bench: Workbench) -> Iterator[Row]:
    """Learn the task by its head alone, with BatchNorm, with a mask, and with both.

    Each training has the learning rates of its method: without a mask those of `batchnorm`.
    """
    head, batchnorm, mask, both = PARTS
    yield Row(head, bench.name, bench.learn(FIXED, bench.base, fixed_normalisation=True))
    yield Row(batchnorm, bench.name, bench.learn(FIXED, bench.base))
    yield Row(mask, bench.name, bench.learn(MASKED, bench.base, fixed_normalisation=True))
    yield Row(both, bench.name, bench.stored(MASKED, bench.name))


def exchanged(bench: Workbench) -> Iterator[Row]:
    """Combine BatchNorm and head of the task with the mask of every task, without any training.

    The base task has no mask. Statistics of BatchNorm are computed again for each combination.
    """
    unmasked = bench.unmasked()
    for task in bench.tasks:
        condition = NO_MASK if task == bench.base_task else task
        yield Row(condition, bench.name, bench.with_statistics(masked(unmasked, bench.bits(task))))
