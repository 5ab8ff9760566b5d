"""`ewc`: elastic weight consolidation, a quadratic penalty on changes of weights that earlier tasks depend on.

Idea: a task depends on those weights whose change would change its likelihood. Formula: the loss + λ/2 · Σ F (θ −
θ*)²; θ* are the weights after the previous task, and F is the diagonal Fisher information of all earlier tasks: F ←
γ·F + F_task (online EWC). F_task is estimated at the end of each task from the task's likelihood, with targets
sampled from the network's output distribution: categorical for labels, Gaussian for pictures. Styles have no
likelihood; the gradient of their loss replaces it. Trained: all parameters. Stored: one network, and F for further
training. Forgets: less than `fine-tune`. Source: Kirkpatrick et al., PNAS 2017; Schwarz et al., Progress &
Compress, ICML 2018. Deliberately different: F_task is divided by its mean over all weights, so that tasks count
equally, whether their likelihood is a sum or a mean over pixels. BatchNorm belongs to the task by default; if the
settings share it, the penalty includes its scale and shift, and its running statistics move freely. A training
without steps estimates the Fisher information of the base network.
"""

from itertools import islice

import torch
from torch import Tensor, nn

from palimpsest.methods.base import Component, ParameterGroup, Start
from palimpsest.methods.ewc_settings import EwcSettings
from palimpsest.methods.fine_tune import FineTune
from palimpsest.networks.trunk import normalisation_layers, tensor_name, trunk_modules
from palimpsest.tasks.base import Batch

FISHER = "fisher"
"""Name of the component with the Fisher information, and last part of the names of its tensors."""


class Ewc(FineTune):
    """Method `fine-tune` with a quadratic penalty on changes of shared parameters."""

    settings: EwcSettings

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Return all parameters to train, and keep the present weights and the Fisher information of earlier tasks.

        On the base task, which the base network has learned already, no parameter trains.
        """
        self.start = start
        self.device = torch.device("cpu")
        self.anchor = {name: p.detach().clone() for name, p in self.shared_parameters(start.network).items()}
        self.fisher: dict[str, Tensor] = {}
        if not start.earlier:
            return []
        suffix = f".{FISHER}"
        stored = start.earlier[-1].tensors
        self.fisher = {n.removesuffix(suffix): tensor for n, tensor in stored.items() if n.endswith(suffix)}
        return super().begin_task(start)

    def shared_parameters(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters that all tasks share by name: the trunk, and BatchNorm if the settings share it."""
        trunk = {
            tensor_name(n, key): p
            for n, m in trunk_modules(network)
            for key, p in m.named_parameters(recurse=False)
        }
        if self.settings.batchnorm != "shared":
            return trunk
        normalisation = normalisation_layers(network)
        return trunk | {tensor_name(n, key): p for n, m in normalisation for key, p in m.named_parameters()}

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor | None:
        """Return λ/2 · Σ F (θ − θ*)², a scalar; ``batch`` is not used, and ``loss`` only for its device."""
        if self.device != loss.device:  # the device is known only after the training has started
            self.device = loss.device
            self.fisher, self.anchor = (
                {name: tensor.to(self.device) for name, tensor in tensors.items()}
                for tensors in (self.fisher, self.anchor)
            )
        terms = [
            (self.fisher[name] * (p - self.anchor[name]).square()).sum()
            for name, p in self.shared_parameters(network).items()
        ]
        total: Tensor = 0.5 * self.settings.weight * torch.stack(terms).sum()
        return total

    def after_training(self, network: nn.Module) -> None:
        """Compute this task's Fisher information and add it to the decayed one of earlier tasks."""
        parameters = self.shared_parameters(network)
        fisher = normalised(fisher_information(network, parameters, self.start, self.settings.pictures))
        decay = self.settings.decay
        self.fisher = {
            name: decay * self.fisher[name].to(value.device) + value if self.fisher else value
            for name, value in fisher.items()
        }

    def store(self, network: nn.Module) -> list[Component]:
        """Return the components of `fine-tune`, and the Fisher information, which only further training needs."""
        fisher = {f"{name}.{FISHER}": tensor for name, tensor in self.fisher.items()}
        return [*super().store(network), Component(FISHER, fisher, shared=True, needed_to="learn")]


def normalised(fisher: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return Fisher information, by parameter, divided by its mean over all weights; if all is zero, zeros."""
    mean = torch.cat([values.flatten() for values in fisher.values()]).mean()
    return {name: values / mean.clamp(min=torch.finfo(mean.dtype).tiny) for name, values in fisher.items()}


def fisher_information(
    network: nn.Module, parameters: dict[str, nn.Parameter], start: Start, pictures: int
) -> dict[str, Tensor]:
    """Return the diagonal Fisher information of the task just learned, by name of the parameter.

    It is the mean over the first ``pictures`` training pictures of the squared gradient of the negative
    log-likelihood of one picture, for a target sampled from the network's output distribution. The network is set
    to evaluation mode, so that BatchNorm uses its running statistics.
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
    count = 0
    for batch in islice(singles, pictures):
        prediction = start.task.prediction(network(start.task.inputs(batch)), batch)
        loss = start.task.sampled_loss(prediction, batch)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for name, gradient in zip(parameters, gradients, strict=True):
            sums[name] += gradient.square()
        count += 1
    for p in frozen:
        p.requires_grad_(False)
    return {name: total / count for name, total in sums.items()}
