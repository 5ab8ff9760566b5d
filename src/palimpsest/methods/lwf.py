"""`lwf`: learning without forgetting; on the new task's pictures the earlier heads keep their predictions.

Idea: the old network's predictions on new pictures replace the old pictures. Formula: the loss + λ₀ · the mean over
earlier tasks of the distance between the task's prediction now and its prediction before this training: for labels
KL divergence at temperature 2, times the temperature squared; for pictures the squared distance. Trained: all
parameters. Stored: one network; a copy of the old network computes its predictions at each step. Forgets: less than
`fine-tune`. Source: Li and Hoiem, ECCV 2016; their cross-entropy has the gradient of the divergence up to a factor.
Deliberately different: distances are multiplied by the new task's loss at the step, and those of pictures are
relative to the variance of the old predictions, because the loss of colorization is a tenth of that of classes; the
penalty shrinks with that loss; the default of λ₀ is 10 (original: 1). The penalty is a mean over earlier tasks
(original: a sum). Earlier heads and BatchNorm stay frozen (original: old heads train too), and no steps train only
the new head. A shared BatchNorm uses batch statistics for the predictions of earlier tasks, in the old and the new
network, and these predictions update no running statistics.
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
from palimpsest.methods.lwf_settings import LwfSettings
from palimpsest.networks.trunk import normalisation_layers
from palimpsest.tasks.base import Batch, Task


class Lwf(FineTune):
    """Method `fine-tune` with a penalty on changed predictions of earlier tasks."""

    settings: LwfSettings

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Copy the network as the frozen teacher; return all parameters to train."""
        self.teacher = copy.deepcopy(start.network).eval().requires_grad_(False)
        self.shared = self.settings.batchnorm == "shared"
        names = ("head",) if self.shared else ("batchnorm", "head")
        self.earlier: list[tuple[Task, dict[str, Tensor]]] = [
            (stored.task, {n: t for c in stored.components if c.name in names for n, t in c.tensors.items()})
            for stored in start.earlier
        ]
        return super().begin_task(start)

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor | None:
        """Return λ₀ · loss · mean distance between network and teacher in the earlier tasks' predictions."""
        device = loss.device
        self.teacher.to(device)
        for layer, trained in normalisation_pairs(self.teacher, network):
            layer.train(self.shared and trained.training)
        terms = []
        for task, tensors in self.earlier:
            state = {name: tensor.to(device) for name, tensor in tensors.items()}
            inputs = task.inputs(batch).contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), frozen_statistics(self.teacher, self.shared):
                expected = task.prediction(functional_call(self.teacher, state, (inputs,)), batch)
            with frozen_statistics(network, self.shared):
                predicted = task.prediction(functional_call(network, state, (inputs,)), batch)
            terms.append(task.distillation(predicted, expected, self.settings.temperature))
        total: Tensor = self.settings.weight * loss * torch.stack(terms).mean()
        return total


def normalisation_pairs(teacher: nn.Module, network: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Return pairs of a normalisation layer of the teacher and its counterpart in a network of the same layers."""
    pairs = zip(normalisation_layers(teacher), normalisation_layers(network), strict=True)
    return ((old, new) for (_, old), (_, new) in pairs)


@contextmanager
def frozen_statistics(network: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """Run a block in which the BatchNorm layers of a network do not update their running statistics.

    They compute with the statistics of the batch if ``batch_statistics``, otherwise with the running statistics.
    Layers in evaluation mode stay in it.
    """
    layers = [layer for _, layer in normalisation_layers(network) if isinstance(layer, _NormBase)]
    momenta = {layer: layer.momentum for layer in layers if layer.training}
    for layer in momenta:
        layer.train(batch_statistics)
        layer.momentum = 0.0
    yield
    for layer, momentum in momenta.items():
        layer.train()
        layer.momentum = momentum
