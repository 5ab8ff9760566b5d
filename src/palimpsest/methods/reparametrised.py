"""Methods that leave the base's weights alone and compute the task's from them, layer by layer.

While a task is learned a module lies over each layer's weight (a parametrization of PyTorch); what it learned
is stored under the layer's name, and from the base's weight and what is stored the same weight is computed
again, bit for bit. A network that runs a task is therefore the plain network, as fast as the base. The rest of the
trunk, biases and bare parameters, stays the base's.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from palimpsest.errors import StorageError
from palimpsest.methods.base import (
    Component,
    Method,
    ParameterGroup,
    Start,
    State,
    load_into,
    require_task,
    task_components,
    task_group,
)
from palimpsest.networks.trunk import Layer, freeze, trunk_layers, trunk_state

LayerTensors = Mapping[str, Tensor]
"""Stored tensors of one layer, by the last part of their names."""


class LayerWeight(nn.Module, ABC):
    """Parametrization of one layer's weight over the base's while a task is learned."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Return the task's weight for the base's, of the same shape."""

    @abstractmethod
    def stored(self) -> dict[str, Tensor]:
        """Return the tensors of this layer that inference needs."""


class Reparametrised(Method):
    """Says of each layer how its weight is learned, and how it is computed from what is stored."""

    component: ClassVar[str]
    """Name of the stored component in `sizes.csv`."""
    entries: tuple[str, ...]
    """Names of the tensors that are stored of each layer."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Let the modules over the weights train, with normalisation and head."""
        freeze(start.network)
        modules = []
        for name, layer in self.layers(start.network):
            module = self.make_parametrization(layer, name, start)
            parametrize.register_parametrization(layer, "weight", module, unsafe=True)
            modules.append(module)
        return [*self.groups(modules, start), task_group(start)]

    def layers(self, network: nn.Module) -> Iterator[tuple[str, Layer]]:
        """Return the layers whose weights become the task's; the others keep the base's."""
        return trunk_layers(network)

    @abstractmethod
    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return the parametrization of a layer's weight."""

    @abstractmethod
    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the parameter groups of the parametrizations."""

    def store(self, network: nn.Module) -> list[Component]:
        """Return the learned tensors of every layer, with normalisation and head."""
        tensors = {
            f"{name}.{key}": tensor
            for name, layer in self.layers(network)
            for key, tensor in learned(layer).stored().items()
        }
        return [Component(self.component, tensors), *task_components(network)]

    @abstractmethod
    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return a layer's weight from the base's and the stored tensors, bit for bit the learned one."""

    def write(self, layers: Iterable[tuple[Layer, Tensor, LayerTensors]]) -> None:
        """Put the task's weight into each layer, from the base's and what is stored."""
        for layer, base, stored in layers:
            layer.weight.copy_(self.weight(layer, base, stored))

    @torch.no_grad()
    def load_weights(self, network: nn.Module, base: State, tensors: State) -> None:
        """Compute the weights that the task runs with; the base's are only read."""
        require_task(network, tensors)
        rest, layers = dict(tensors), []
        kept = {name: base[name] for name in trunk_state(network)}
        for name, layer in self.layers(network):
            for key in self.entries:
                if f"{name}.{key}" not in rest:
                    raise StorageError(
                        f"there is no {key} for the layer {name!r}: the stored task is of another network"
                    )
            stored = {key: rest.pop(f"{name}.{key}") for key in self.entries}
            layers.append((layer, kept.pop(f"{name}.weight"), stored))
        load_into(network, {**kept, **rest})
        self.write(layers)


def parted(tensors: State, entry: str) -> tuple[State, State]:
    """Tensors that are stored of layers, without those of one entry, and those alone."""
    own = {name: tensor for name, tensor in tensors.items() if name.endswith(f".{entry}")}
    return {name: tensor for name, tensor in tensors.items() if name not in own}, own


def learned(layer: nn.Module) -> LayerWeight:
    """Return the parametrization of a layer's weight while it is learned."""
    (module,) = (module for module in layer.modules() if isinstance(module, LayerWeight))
    return module


def original(layer: nn.Module) -> nn.Parameter:
    """Return the weight below what lies over it."""
    return layer.get_parameter("parametrizations.weight.original")


def modules_group(
    name: str, modules: Iterable[nn.Module], start: Start, lr_multiplier: float = 1.0
) -> ParameterGroup:
    """All parameters of what lies over the weights as one group: ``pace`` times that of weights, without decay."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return ParameterGroup(name, parameters, start.training.learning_rate * lr_multiplier)
