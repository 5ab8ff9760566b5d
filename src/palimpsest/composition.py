"""Composition of two tasks on one picture, as a grey photograph coloured and painted in the style of van Gogh.

The study names three ways to compose residual networks ("Resblock 連結"), implemented here as:

``two-stage``   two whole passes, picture → first task → picture → second task; for any method
``sequential``  one pass; in each group of blocks those of the first task, then those of the second
``alternate``   one pass; in each group the blocks of both in turn: first₁ second₁ first₂ second₂ …

In one pass the network gets the first task's input and has the second task's head. Masks have a fourth way:

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
"""Function from a batch, of which it uses only the pictures, to the prediction of a task."""

Blocks = Iterable[nn.Module]


def two_stage(first: Predictor, second: Predictor) -> Answer:
    """Return the second task on the first one's picture, which is rounded to 8 bits as in a saved file."""

    def answer(batch: Batch) -> Tensor:
        painted = torch.from_numpy(first.task.paint(first.answer(batch))).permute(0, 3, 1, 2)
        return second.answer({**batch, "picture": painted.to(batch["picture"].device)})

    return answer


def sequential(first: Predictor, second: Predictor) -> Answer:
    """Return one pass through the shared auto-encoder with the first task's blocks before the second one's."""
    return in_one_pass(first, second, chain)


def alternate(first: Predictor, second: Predictor) -> Answer:
    """Return one pass through the shared auto-encoder with the blocks of both tasks in turn."""
    return in_one_pass(first, second, lambda *blocks: chain.from_iterable(zip(*blocks, strict=True)))


def in_one_pass(first: Predictor, second: Predictor, order: Callable[[Blocks, Blocks], Blocks]) -> Answer:
    """Return one pass through the shared auto-encoder; ``order`` merges each group of both tasks' blocks."""
    encoder, decoder = first.network, second.network
    assert isinstance(encoder, ResblockNetwork) and isinstance(decoder, ResblockNetwork)
    deep = list(order(encoder.blocks.deep, decoder.blocks.deep))
    rising = list(order(encoder.blocks.rising, decoder.blocks.rising))

    def answer(batch: Batch) -> Tensor:
        output = decoder.decode(encoder.encode(first.inputs(batch)), deep, rising)
        return second.task.prediction(output, batch)

    return answer


IN_FULL: Mapping[str, Callable[[Predictor, Predictor], Answer]] = {
    "two-stage": two_stage,
    "sequential": sequential,
    "alternate": alternate,
}
"""Ways that use all weights of both tasks, unlike a blend."""


@torch.no_grad()
def blend(first: Predictor, second: Predictor, alpha: float, pictures: Iterable[Batch]) -> Predictor:
    """Interpolate masks, BatchNorm's affine part and head, from the first task (``alpha`` 1) to the second (0).

    The running statistics of BatchNorm cannot be interpolated and are measured anew on ``pictures``.
    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018.

    Raises:
        SettingsError: the heads differ in width.
    """
    network = copy.deepcopy(second.network)
    first_state = first.network.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.shape != first_state[name].shape:
            raise SettingsError(
                f"compositions: {first.task.name} and {second.task.name} cannot be blended: {name} has the shapes "
                f"{tuple(first_state[name].shape)} and {tuple(tensor.shape)}; blend two tasks with equal outputs"
            )
        if tensor.is_floating_point():
            # A weight that both masks keep stays the same bit for bit; one mask alone contributes its fraction.
            tensor.lerp_(first_state[name], alpha)
    blended = Predictor(network, second.task)
    update_bn((blended.inputs(batch) for batch in pictures), network)
    return blended


@dataclass(frozen=True)
class Composed:
    """Function of both tasks together or of one of them alone, with its name in tables and figures."""

    way: str
    answer: Answer
    task: Task
    """Task whose prediction `answer` returns."""
    title: str
    alpha: float | None = None


def compositions(
    settings: CompositionSettings,
    first: Predictor,
    second: Predictor,
    prepared: Mapping[str, Prepared],
    device: torch.device,
) -> Iterator[Composed]:
    """Yield each task alone, then both in every way of the settings; a blend yields its networks one by one."""
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
    """Yield the first training pictures, uncropped, in batches; their number is rounded up to whole batches."""
    batches = evaluation_batches(prepared, "train", min(number, BATCH_SIZE))
    for batch in islice(batches, -(-number // BATCH_SIZE)):
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def metric_rows(
    composed: Composed, tasks: Sequence[Task], prepared: Mapping[str, Prepared], device: torch.device
) -> Iterator[dict[str, object]]:
    """Yield the metrics of a composition under each of these tasks, on the task's whole validation split."""
    for task in tasks:
        measured = measure(composed.answer, task, prepared[task.name], device, samples=0)
        log.info("%s, as %s: %s", composed.title, task.name, headline(measured.metrics))
        for metric, value in measured.metrics.items():
            yield {
                "way": composed.way,
                "alpha": composed.alpha,
                "task": task.name,
                "metric": metric,
                "value": value,
                "images": measured.images,
            }
