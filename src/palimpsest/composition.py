"""Two tasks on one picture: a grey photograph in colour, and that in the style of van Gogh.

The study composes residual networks in three ways ("Resblock 連結"), of which it gives the names. They are read as:

``two-stage``   two whole passes, picture → first task → picture → second task; for any method
``sequential``  one pass, at each place the blocks of the first task and then those of the second
``alternate``   one pass, the blocks of both in turn: first₁ second₁ first₂ second₂ …

In one pass the first task's input goes in, and the second task's head answers. Masks have a fourth way:

``blend``       weights ∘ (α · mask₁ + (1 − α) · mask₂), between two tasks of one kind
"""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from palimpsest.analysis.measurement import BATCH_SIZE, headline, measure
from palimpsest.composition_settings import CompositionSettings
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.errors import SettingsError
from palimpsest.inference import Predictor
from palimpsest.networks.resblock import ResblockNetwork
from palimpsest.tasks.base import Batch, Task

log = logging.getLogger(__name__)

Answer = Callable[[Batch], Tensor]
"""From a batch, of which only the picture is looked at, to the prediction of a task."""

Blocks = Iterable[nn.Module]


def two_stage(first: Predictor, second: Predictor) -> Answer:
    """The second task on the first one's picture, rounded to 8 bits as a saved picture is."""

    def answer(batch: Batch) -> Tensor:
        painted = torch.from_numpy(first.task.paint(first.answer(batch))).permute(0, 3, 1, 2)
        return second.answer({**batch, "picture": painted.to(batch["picture"].device)})

    return answer


def sequential(first: Predictor, second: Predictor) -> Answer:
    """The first task's blocks, and then the second one's, between the halves of the auto-encoder of both."""
    return in_one_pass(first, second, chain)


def alternate(first: Predictor, second: Predictor) -> Answer:
    """Blocks of both tasks in turn, between the halves of the auto-encoder of both."""
    return in_one_pass(first, second, lambda one, other: chain.from_iterable(zip(one, other, strict=True)))


def in_one_pass(first: Predictor, second: Predictor, order: Callable[[Blocks, Blocks], Blocks]) -> Answer:
    """The blocks of two residual networks at each place in an order made of those of both."""
    one, other = first.network, second.network
    assert isinstance(one, ResblockNetwork) and isinstance(other, ResblockNetwork)
    deep = list(order(one.blocks.deep, other.blocks.deep))
    rising = list(order(one.blocks.rising, other.blocks.rising))

    def answer(batch: Batch) -> Tensor:
        output = other.decode(one.encode(first.inputs(batch)), deep, rising)
        return second.task.prediction(output, batch)

    return answer


IN_FULL: Mapping[str, Callable[[Predictor, Predictor], Answer]] = {
    "two-stage": two_stage,
    "sequential": sequential,
    "alternate": alternate,
}
"""The ways in which both tasks take part in full."""


@torch.no_grad()
def blend(first: Predictor, second: Predictor, alpha: float, pictures: Iterable[Batch]) -> Predictor:
    """A network between two, at 1 the first task's and at 0 the second one's: masks, BatchNorm's affine part, head.

    BatchNorm's running statistics are those of neither network's mixture, and are measured anew on ``pictures``.
    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018.

    Raises:
        SettingsError: the heads of the two are not of one width.
    """
    network = copy.deepcopy(second.network)
    others = first.network.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.shape != others[name].shape:
            raise SettingsError(
                f"compositions: {first.task.name} and {second.task.name} cannot be blended: {name} has the shape "
                f"{tuple(others[name].shape)} in the one and {tuple(tensor.shape)} in the other"
            )
        if tensor.is_floating_point():
            # of a weight that one mask alone keeps its share is left, and of one that both keep all, bit for bit
            tensor.lerp_(others[name], alpha)
    blended = Predictor(network, second.task)
    update_bn((blended.inputs(batch) for batch in pictures), network)
    return blended


@dataclass(frozen=True)
class Composed:
    """One answer that two tasks give together, or that one of them gives alone."""

    way: str
    answer: Answer
    task: Task
    """Whose prediction the answer is."""
    title: str
    alpha: float | None = None


def compositions(
    settings: CompositionSettings,
    first: Predictor,
    second: Predictor,
    prepared: Mapping[str, Prepared],
    device: torch.device,
) -> Iterator[Composed]:
    """Each task alone, and then the two in every way of the settings; a blend's networks one after the other."""
    yield Composed("first alone", first.answer, first.task, first.task.name)
    yield Composed("second alone", second.answer, second.task, second.task.name)
    for way in settings.ways:
        if way in IN_FULL:
            yield Composed(way, IN_FULL[way](first, second), second.task, way)
            continue
        for alpha in np.linspace(1, 0, settings.steps).tolist():
            pictures = chain.from_iterable(
                training_pictures(prepared[task.name], settings.pictures, device)
                for task in (first.task, second.task)
            )
            between = blend(first, second, alpha, pictures)
            yield Composed(way, between.answer, second.task, f"{way} {alpha:.2g}", alpha)


def training_pictures(prepared: Prepared, number: int, device: torch.device) -> Iterator[Batch]:
    """The first training pictures, whole, in batches of one size as far as there are so many."""
    batches = evaluation_batches(prepared, "train", min(number, BATCH_SIZE))
    for batch in islice(batches, -(-number // BATCH_SIZE)):
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def metric_rows(
    composed: Composed, tasks: Sequence[Task], prepared: Mapping[str, Prepared], device: torch.device
) -> Iterator[dict[str, object]]:
    """An answer measured as if it were that of each of these tasks, on the task's whole validation split."""
    for task in tasks:
        found = measure(composed.answer, task, prepared[task.name], device, samples=0)
        log.info("%s, as %s: %s", composed.title, task.name, headline(found.metrics))
        for metric, value in found.metrics.items():
            yield {
                "way": composed.way,
                "alpha": composed.alpha,
                "task": task.name,
                "metric": metric,
                "value": value,
                "images": found.images,
            }
