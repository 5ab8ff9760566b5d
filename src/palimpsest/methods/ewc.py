"""`ewc`: elastic weight consolidation: weights that earlier tasks depend on are held back by a spring.

Idea: what a task knows is in those weights whose change would change its likelihood. Formula: the loss + λ/2 ·
Σ F (θ − θ*)², θ* the weights as the task before left them, F the diagonal of the Fisher information of all earlier
tasks in one matrix, F ← γ·F + F_task (online EWC). F_task is estimated at the end of each task from its own
likelihood: categorical for labels, Gaussian for pictures, both with answers drawn from the network's own
distribution; for styles, which have none, from the gradient of their loss. Trained: everything. Stored: one
network, and F to go on learning. Forgets: less than `fine-tune`. Source: Kirkpatrick et al., PNAS 2017; Schwarz et
al., Progress & Compress, ICML 2018. Deliberately different: F_task is divided by its mean over all weights, so
that each task counts alike, be its likelihood a sum over many pixels or a mean. BatchNorm belongs to each task,
unless the settings say that it is shared: its scale and shift are then held by the same spring, and its running
statistics move freely. The base network's Fisher is estimated as a first training in which nothing trains.
"""

from itertools import islice

import torch
from torch import Tensor, nn

from palimpsest.methods.base import Component, ParameterGroup, Start
from palimpsest.methods.fine_tune import FineTune
from palimpsest.networks.trunk import joined, normalisation_layers, trunk_modules
from palimpsest.tasks.base import Batch

FISHER = "fisher"


class Ewc(FineTune):
    """`fine-tune` with a quadratic penalty."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Everything trains; on the base task nothing does, for that is learned already."""
        self.start = start
        self.place = torch.device("cpu")
        self.anchor = {name: p.detach().clone() for name, p in self.held(start.network).items()}
        self.fisher: dict[str, Tensor] = {}
        if not start.earlier:
            return []
        suffix = f".{FISHER}"
        stored = start.earlier[-1].tensors
        self.fisher = {n.removesuffix(suffix): tensor for n, tensor in stored.items() if n.endswith(suffix)}
        return super().begin_task(start)

    def held(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters that all tasks share."""
        trunk = {
            joined(n, key): p for n, m in trunk_modules(network) for key, p in m.named_parameters(recurse=False)
        }
        if self.settings.batchnorm != "shared":
            return trunk
        normalisation = normalisation_layers(network)
        return trunk | {joined(n, key): p for n, m in normalisation for key, p in m.named_parameters()}

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor | None:
        """λ/2 · Σ F (θ − θ*)²."""
        if self.place != loss.device:  # which is not known before the training begins
            self.place = loss.device
            self.fisher, self.anchor = (
                {name: tensor.to(self.place) for name, tensor in tensors.items()}
                for tensors in (self.fisher, self.anchor)
            )
        terms = [
            (self.fisher[name] * (p - self.anchor[name]).square()).sum() for name, p in self.held(network).items()
        ]
        total: Tensor = 0.5 * self.settings.weight * torch.stack(terms).sum()
        return total

    def after_training(self, network: nn.Module) -> None:
        """Add this task's Fisher information to that of the earlier ones."""
        found = normalised(fisher_information(network, self.held(network), self.start, self.settings.pictures))
        decay = self.settings.decay
        self.fisher = {
            name: decay * self.fisher[name].to(value.device) + value if self.fisher else value
            for name, value in found.items()
        }

    def store(self, network: nn.Module) -> list[Component]:
        """Return the moving network; the Fisher information to go on learning."""
        fisher = {f"{name}.{FISHER}": tensor for name, tensor in self.fisher.items()}
        return [*super().store(network), Component(FISHER, fisher, shared=True, needed_to="learn")]


def normalised(fisher: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same with a mean of 1 over all weights; all zero where it is."""
    mean = torch.cat([values.flatten() for values in fisher.values()]).mean()
    return {name: values / mean.clamp(min=torch.finfo(mean.dtype).tiny) for name, values in fisher.items()}


def fisher_information(
    network: nn.Module, parameters: dict[str, nn.Parameter], start: Start, pictures: int
) -> dict[str, Tensor]:
    """Return the diagonal Fisher information of the task that was just learned, as a mean over pictures.

    The square of the gradient of each picture's negative log-likelihood, of an answer drawn from the network's own
    distribution; BatchNorm computes with its running statistics, as when the task is run.
    """
    assert start.batches is not None
    device = next(network.parameters()).device
    network.eval()
    frozen = [p for p in network.parameters() if not p.requires_grad]
    for p in parameters.values():
        p.requires_grad_(True)
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    singles = (
        {key: value[i : i + 1].to(device) for key, value in batch.items()}
        for batch in start.batches()
        for i in range(len(batch["picture"]))
    )
    seen = 0
    for batch in islice(singles, pictures):
        prediction = start.task.prediction(network(start.task.inputs(batch)), batch)
        loss = start.task.sampled_loss(prediction, batch)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for name, gradient in zip(parameters, gradients, strict=True):
            sums[name] += gradient.square()
        seen += 1
    for p in frozen:
        p.requires_grad_(False)
    return {name: total / seen for name, total in sums.items()}
