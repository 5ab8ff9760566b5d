"""`joint`: one network that learns all tasks at once: what could be reached if they did not come in sequence.

Idea: meant as an upper bound, no way to learn continually: a task that is added means that all is trained again.
Formula: at each step one task's loss goes down, all tasks in turn, and each with Adam's means of its own, whose
steps are as large for colour, whose loss is small in numbers, as for classes (Yang et al., AdaTask, AAAI 2023).
Trained: one network from random weights, and a BatchNorm and a head of each task, for as many steps as all tasks
have by themselves, the base task those of the base network; the learning rate is the first task's. Stored: one
network, with BatchNorm and head of each task.
Forgets: does not apply. Source: common practice, as in Caruana, Multitask Learning, 1997.
Deliberately different: BatchNorm and head are each task's own, as in the methods that learn in sequence; no
weights balance the losses.
"""

import copy
from dataclasses import replace

from torch import Tensor, nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, State, task_group, weight_group
from palimpsest.networks.trunk import normalisation_layers, trunk_state

BETAS = (0.5, 0.999)
"""β₁ of AdamW. Between a task's steps all others move the weights: its mean of gradients is out of date sooner than
that of a task by itself, which 0.9 suits (docs/tuning.md)."""


class PerTask(nn.Module):
    """A layer for each task; the one of the task at hand computes."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.places = {task: place for place, task in enumerate(layers)}  # a ModuleDict bears not every name
        self.layers = nn.ModuleList(layers.values())
        self.task = next(iter(layers))

    @property
    def layer(self) -> nn.Module:
        """Head of the active task."""
        return self.layers[self.places[self.task]]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer of the active task."""
        return self.layer(x)  # type: ignore[no-any-return]


class Joint(Method):
    """All tasks at once."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Everything trains."""
        network, names = start.network, [task.name for task in start.together]
        for name, layer in list(normalisation_layers(network)):
            network.set_submodule(name, PerTask({task: copy.deepcopy(layer) for task in names}))
        width = network.get_parameter("head.weight").shape[1]
        network.head = PerTask({task.name: nn.Conv2d(width, task.head_channels, 1) for task in start.together})
        own = [p for layer in per_task(network).values() for p in layer.parameters()]
        return [replace(group, betas=BETAS) for group in (weight_group(start), task_group(start, own))]

    def set_active_task(self, network: nn.Module, task: str) -> None:
        """Compute with the layers of a task from now on."""
        for layer in per_task(network).values():
            layer.task = task

    def plain_state(self, network: nn.Module) -> State:
        """Return the network with the layers of the task at hand in the places of all tasks' layers."""
        return {**trunk_state(network), **state_of_task(network)}

    def store(self, network: nn.Module) -> list[Component]:
        """Return the network, and the layers of the task at hand."""
        own = state_of_task(network)
        head = {name: tensor for name, tensor in own.items() if name.startswith("head.")}
        batchnorm = {name: tensor for name, tensor in own.items() if name not in head}
        return [
            Component("network", trunk_state(network), shared=True),
            Component("batchnorm", batchnorm),
            Component("head", head),
        ]


def state_of_task(network: nn.Module) -> dict[str, Tensor]:
    """Return BatchNorm and head of the task at hand, under the names of the plain network."""
    return {
        f"{name}.{key}": tensor.detach()
        for name, layer in per_task(network).items()
        for key, tensor in layer.layer.state_dict().items()
        if key != "num_batches_tracked"
    }


def per_task(network: nn.Module) -> dict[str, PerTask]:
    """Return the layers that each task has for itself, by their names in the plain network."""
    return {name: module for name, module in network.named_modules() if isinstance(module, PerTask)}
