"""`lwf`: learning without forgetting: on the new task's pictures the earlier heads shall answer as before.

Idea: the old network's answers on new pictures stand in for the old pictures. Formula: the loss + λ₀ · the mean
over earlier tasks of the distance between its answer now and its answer before this task: KL divergence at
temperature 2 for labels, times the temperature squared; for pictures the squared distance. Trained: everything.
Stored: one network; old answers are computed anew at each step by a copy of the old network. Forgets: less than
`fine-tune`. Source: Li and Hoiem, ECCV 2016, where a cross-entropy has the divergence's gradient but for its size.
Deliberately different: distances count in units of the new task's loss at the step, those of pictures as a share
of the old answers' variance, since colour's loss is a tenth of that of classes: what holds the earlier answers
weakens with that loss. A mean over earlier tasks, not a sum; their heads and BatchNorm stay as they are (there old
heads train along); no steps in which the new head trains alone. A shared BatchNorm answers for earlier tasks by
the statistics of the batch, now and before, and those answers move no running statistics.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from palimpsest.methods.base import ParameterGroup, Start
from palimpsest.methods.fine_tune import FineTune
from palimpsest.networks.trunk import normalisation_layers
from palimpsest.tasks.base import Batch, Task


class Lwf(FineTune):
    """`fine-tune` with a penalty on answers of earlier tasks that change."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Everything trains."""
        self.teacher = copy.deepcopy(start.network).eval().requires_grad_(False)
        self.shared = self.settings.batchnorm == "shared"
        own = ("head",) if self.shared else ("batchnorm", "head")
        self.earlier: list[tuple[Task, dict[str, Tensor]]] = [
            (stored.task, {n: t for c in stored.components if c.name in own for n, t in c.tensors.items()})
            for stored in start.earlier
        ]
        return super().begin_task(start)

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor | None:
        """λ₀ times the mean distance between the earlier tasks' answers now and before, in units of the loss."""
        device = loss.device
        self.teacher.to(device)
        for layer, moving in normalisation_pairs(self.teacher, network):
            layer.train(self.shared and moving.training)
        terms = []
        for task, kept in self.earlier:
            state = {name: tensor.to(device) for name, tensor in kept.items()}
            inputs = task.inputs(batch).contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), resting(self.teacher, self.shared):
                expected = task.prediction(functional_call(self.teacher, state, (inputs,)), batch)
            with resting(network, self.shared):
                predicted = task.prediction(functional_call(network, state, (inputs,)), batch)
            terms.append(task.distillation(predicted, expected, self.settings.temperature))
        total: Tensor = self.settings.weight * loss * torch.stack(terms).mean()
        return total


def normalisation_pairs(one: nn.Module, other: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Return the normalisation layers of two networks of one architecture, in pairs."""
    pairs = zip(normalisation_layers(one), normalisation_layers(other), strict=True)
    return ((layer, same) for (_, layer), (_, same) in pairs)


@contextmanager
def resting(network: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """Keep BatchNorm's running statistics as they are; it computes with them, or with those of the batch."""
    layers = [layer for _, layer in normalisation_layers(network) if isinstance(layer, _NormBase)]
    momenta = {layer: layer.momentum for layer in layers if layer.training}
    for layer in momenta:
        layer.train(batch_statistics)
        layer.momentum = 0.0
    yield
    for layer, momentum in momenta.items():
        layer.train()
        layer.momentum = momentum
