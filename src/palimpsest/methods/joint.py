"""`joint`: one network that learns all tasks together, as a reference without a sequence of tasks.

Idea: an upper bound and no method of continual learning: adding a task repeats the whole training.
Formula: each step reduces the loss of one task; tasks take turns, each with its own optimiser state, so that tasks
with losses of different scales take steps of similar size (Yang et al., AdaTask, AAAI 2023).
Trained: one network from random weights, with BatchNorm and a head per task, for the sum of all tasks' steps (the
base task has the steps of the base network), at the learning rate of the first task. Stored: one network, with
BatchNorm and head of each task.
Forgets: does not apply. Source: common practice, as in Caruana, Multitask Learning, 1997.
Deliberately different: each task has its own BatchNorm and head, as in the sequential methods; no weights balance
the losses.
"""

import copy
from dataclasses import replace

from torch import Tensor, nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, State, task_group, weight_group
from palimpsest.networks.trunk import normalisation_layers, trunk_state

BETAS = (0.5, 0.999)
"""β₁ and β₂ of AdamW. Other tasks change the weights between two steps of a task, so that its mean of gradients
goes stale sooner than in a training of one task, for which β₁ = 0.9 suits. On `mini` (one seed, commit
15f94fd), `voc-seg` had 87.9 mIoU at β₁ = 0.9, 90.7 at 0.5 and 89.2 at 0; `colorize` had ΔE 11.1, 10.5 and 11.4."""


class PerTask(nn.Module):
    """Layer of the network that exists once per task; the copy of the active task computes.

    ``layers`` are the copies by name of the task; the first task is active at first.
    """

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.indices = {task: index for index, task in enumerate(layers)}  # a ModuleDict refuses some names
        self.layers = nn.ModuleList(layers.values())
        self.task = next(iter(layers))

    @property
    def layer(self) -> nn.Module:
        """Copy of the layer that belongs to the active task."""
        return self.layers[self.indices[self.task]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the active task's copy."""
        return self.layer(x)  # type: ignore[no-any-return]


class Joint(Method):
    """Method that learns all tasks in one training."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Give each task its own normalisation layers and head; return all parameters to train."""
        network, names = start.network, [task.name for task in start.together]
        for name, layer in list(normalisation_layers(network)):
            network.set_submodule(name, PerTask({task: copy.deepcopy(layer) for task in names}))
        width = network.get_parameter("head.weight").shape[1]
        network.head = PerTask({task.name: nn.Conv2d(width, task.head_channels, 1) for task in start.together})
        of_tasks = [p for layer in per_task(network).values() for p in layer.parameters()]
        return [replace(group, betas=BETAS) for group in (weight_group(start), task_group(start, of_tasks))]

    def set_active_task(self, network: nn.Module, task: str) -> None:
        """Make the network compute a task: select its copies of all `PerTask` layers."""
        for layer in per_task(network).values():
            layer.task = task

    def plain_state(self, network: nn.Module) -> State:
        """Return the trunk, and normalisation and head of the active task, under the names of the plain network."""
        return {**trunk_state(network), **state_of_task(network)}

    def store(self, network: nn.Module) -> list[Component]:
        """Return the trunk, which all tasks share, and normalisation and head of the active task, as components."""
        state = state_of_task(network)
        head = {name: tensor for name, tensor in state.items() if name.startswith("head.")}
        batchnorm = {name: tensor for name, tensor in state.items() if name not in head}
        return [
            Component("network", trunk_state(network), shared=True),
            Component("batchnorm", batchnorm),
            Component("head", head),
        ]


def state_of_task(network: nn.Module) -> dict[str, Tensor]:
    """Return normalisation and head of the active task, under the names of the plain network."""
    return {
        f"{name}.{key}": tensor.detach()
        for name, layer in per_task(network).items()
        for key, tensor in layer.layer.state_dict().items()
        if key != "num_batches_tracked"
    }


def per_task(network: nn.Module) -> dict[str, PerTask]:
    """Return the `PerTask` layers of a network, by the names of the layers that they replaced."""
    return {name: module for name, module in network.named_modules() if isinstance(module, PerTask)}
