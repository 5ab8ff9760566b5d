"""Composition of two tasks on one picture: a grey photograph is coloured, then painted in the style of van Gogh.

The study composes residual networks ("Resblock 連結") in three ways:

``two-stage``   two passes, picture → first task → picture → second task; for any method
``sequential``  one pass; at each depth the blocks of the first task, then the blocks of the second task
``alternate``   one pass; at each depth the blocks of both tasks in turn: first₁ second₁ first₂ second₂ …

The blocks have two depths: the deepest level, and after the first upsampling. One pass takes the first task's input
and ends with the second task's head. Masks allow a fourth way:

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

from palimpsest.analysis.measurement import BATCH_SIZE, measure, metrics_line
from palimpsest.composition_settings import CompositionSettings
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.errors import SettingsError
from palimpsest.inference import Predictor
from palimpsest.methods.compact import unfold
from palimpsest.networks.resblock import ResblockNetwork
from palimpsest.tasks.base import Batch, Task

log = logging.getLogger(__name__)

Predict = Callable[[Batch], Tensor]
"""Function from a batch to the prediction of a task; it uses only the pictures of the batch."""

Blocks = Iterable[nn.Module]
"""Residual blocks of one task at one depth of the network."""


def two_stage(first: Predictor, second: Predictor) -> Predict:
    """Return the composition `two-stage`: the second task's prediction for the first task's picture.

    The picture is rounded to 8 bits, as in a file.
    """

    def predict(batch: Batch) -> Tensor:
        painted = torch.from_numpy(first.task.paint(first.predict(batch))).permute(0, 3, 1, 2)
        return second.predict({**batch, "picture": painted.to(batch["picture"].device)})

    return predict


def sequential(first: Predictor, second: Predictor) -> Predict:
    """Return the composition `sequential`: at each depth, the blocks of the first task run before the second's."""
    return in_one_pass(first, second, chain)


def alternate(first: Predictor, second: Predictor) -> Predict:
    """Return the composition `alternate`: at each depth, the blocks of both tasks run in turn (A₁ B₁ A₂ B₂ …)."""
    return in_one_pass(first, second, lambda *blocks: chain.from_iterable(zip(*blocks, strict=True)))


def in_one_pass(first: Predictor, second: Predictor, order: Callable[[Blocks, Blocks], Blocks]) -> Predict:
    """Return a function that predicts in one pass with the blocks of both tasks.

    The pass takes the first task's input and encoder, and the second task's decoder and head. ``order`` merges the
    blocks of the two tasks, once for the deepest level and once after the first upsampling.
    """
    encoder, decoder = first.network, second.network
    assert isinstance(encoder, ResblockNetwork) and isinstance(decoder, ResblockNetwork)
    deep = list(order(encoder.blocks.deep, decoder.blocks.deep))
    rising = list(order(encoder.blocks.rising, decoder.blocks.rising))

    def predict(batch: Batch) -> Tensor:
        output = decoder.decode(encoder.encode(first.inputs(batch)), deep, rising)
        return second.task.prediction(output, batch)

    return predict


UNBLENDED: Mapping[str, Callable[[Predictor, Predictor], Predict]] = {
    "two-stage": two_stage,
    "sequential": sequential,
    "alternate": alternate,
}
"""Ways without interpolation of weights: from two tasks to the composed prediction. `blend` is the other way."""


@torch.no_grad()
def blend(first: Predictor, second: Predictor, alpha: float, pictures: Iterable[Batch]) -> Predictor:
    """Return a predictor between two tasks: the first at ``alpha`` 1, the second at 0; both stay unchanged.

    Weights, BatchNorm's scale and shift, and head are interpolated; since both tasks mask the same weights, this
    interpolates their masks. BatchNorm's running statistics are measured again on ``pictures``; those of the tasks
    must not be folded, see `unfolded`.
    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018.

    Raises:
        SettingsError: the heads differ in width.
    """
    network, first_state = copy.deepcopy(second.network), first.network.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.shape != first_state[name].shape:
            raise SettingsError(
                f"compositions: {first.task.name} and {second.task.name} cannot be blended: {name} has the shapes "
                f"{tuple(first_state[name].shape)} and {tuple(tensor.shape)}; blend two tasks with equal outputs"
            )
        if tensor.is_floating_point():
            # A weight that both masks keep stays bit-identical.
            tensor.lerp_(first_state[name], alpha)
    blended = Predictor(network, second.task)
    update_bn((second.inputs(batch) for batch in pictures), network)
    return blended


def unfolded(predictor: Predictor, pictures: Iterable[Batch]) -> Predictor:
    """Return the predictor of a task with statistics of BatchNorm on ``pictures``, as a copy."""
    network = copy.deepcopy(predictor.network)
    unfold(network, map(predictor.inputs, pictures))
    return Predictor(network, predictor.task)


@dataclass(frozen=True)
class Composed:
    """Prediction by one task alone or by both tasks, with its name in tables and figures."""

    way: str
    """Key of `UNBLENDED`, `blend`, or the name of a task alone: `first alone`, `second alone`."""
    predict: Predict
    task: Task
    """Task whose prediction `predict` returns."""
    title: str
    """Heading of its pictures in the figure."""
    alpha: float | None = None
    """Share of the first task in a blend; None for all other ways."""


def compositions(
    settings: CompositionSettings,
    first: Predictor,
    second: Predictor,
    prepared: Mapping[str, Prepared],
    device: torch.device,
) -> Iterator[Composed]:
    """Yield each task alone, then each way of the settings; `blend` yields one entry per value of ``alpha``.

    ``prepared`` has the arrays of both tasks by name; a blend measures BatchNorm's statistics on their pictures.
    """
    yield Composed("first alone", first.predict, first.task, first.task.name)
    yield Composed("second alone", second.predict, second.task, second.task.name)
    for way in settings.ways:
        if way in UNBLENDED:
            yield Composed(way, UNBLENDED[way](first, second), second.task, way)
            continue
        start, end = (unfolded(of, pictures_of_both(settings, prepared, device)) for of in (first, second))
        for alpha in np.linspace(1, 0, settings.steps).tolist():
            blended = blend(start, end, alpha, pictures_of_both(settings, prepared, device))
            yield Composed(way, blended.predict, second.task, f"{way} {alpha:.2g}", alpha)


def pictures_of_both(
    settings: CompositionSettings, prepared: Mapping[str, Prepared], device: torch.device
) -> Iterator[Batch]:
    """Yield batches of training pictures of the first task, then of the second; see `training_pictures`."""
    for name in (settings.first, settings.second):
        yield from training_pictures(prepared[name], settings.pictures, device)


def training_pictures(prepared: Prepared, number: int, device: torch.device) -> Iterator[Batch]:
    """Yield batches of the first training pictures, uncropped; ``number`` is rounded up to whole batches."""
    batches = evaluation_batches(prepared, "train", min(number, BATCH_SIZE))
    for batch in islice(batches, -(-number // BATCH_SIZE)):
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def composed_rows(
    composed: Composed, tasks: Sequence[Task], prepared: Mapping[str, Prepared], device: torch.device
) -> Iterator[dict[str, object]]:
    """Yield rows of `metrics.csv`: the metrics of a composition on each task's whole validation split."""
    for task in tasks:
        measured = measure(composed.predict, task, prepared[task.name], device, samples=0, with_errors=False)
        log.info("%s, as %s: %s", composed.title, task.name, metrics_line(measured.metrics))
        for metric, value in measured.metrics.items():
            yield {
                "way": composed.way,
                "alpha": composed.alpha,
                "task": task.name,
                "metric": metric,
                "value": value,
                "images": measured.images,
            }
