"""Methods that freeze the base's weights and compute the task's weights from them, layer by layer.

During training each layer's weight has a PyTorch parametrization. Its tensors are stored under the layer's name,
and loading computes the same weight from them and the base's weight, bit for bit. Inference therefore uses the
plain network, as fast as the base. Biases and bare parameters of the trunk keep the base's values.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    copier,
    require_task,
    task_components,
    task_group,
)
from palimpsest.networks.trunk import Layer, freeze, trunk_layers, trunk_state

LayerTensors = Mapping[str, Tensor]
"""Stored tensors of one layer, by the last part of their names, as `mask`."""
StoredLayer = tuple[str, Layer, Tensor, LayerTensors]
"""Name of a layer, its module, the base's weight, and its stored tensors."""


class LayerWeight(nn.Module, ABC):
    """PyTorch parametrization that computes the task's weight of one layer from the base's."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Return the task's weight from the base's, in the same shape."""

    @abstractmethod
    def stored(self) -> dict[str, Tensor]:
        """Return the tensors of this layer that inference needs, by the last part of their names."""


class _Recomputation:
    """Hooks on a layer by which the backward pass computes the task's weight again; autograd does not keep it.

    The computed weights of all layers would otherwise stay in memory from the forward pass on. Under automatic
    mixed precision autograd keeps copies in the lower precision, half as large; they stay.
    """

    def __init__(self, layer: nn.Module, weight: LayerWeight) -> None:
        self.layer, self.weight = layer, weight
        self.computed: Tensor | None = None  # kept during the layer's forward pass, so that its address is unique
        self.in_forward = False
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack)
        weight.register_forward_hook(self.remember)
        layer.register_forward_pre_hook(self.start_packing)
        layer.register_forward_hook(self.stop_packing, always_call=True)

    def remember(self, module: nn.Module, inputs: tuple[Tensor, ...], computed: Tensor) -> None:
        if self.in_forward:  # storing a task evaluates the weight too
            self.computed = computed

    def start_packing(self, *forward: object) -> None:
        self.in_forward = True
        self.hooks.__enter__()

    def stop_packing(self, *forward: object) -> None:
        self.hooks.__exit__()
        self.in_forward, self.computed = False, None

    def pack(self, tensor: Tensor) -> Tensor | tuple[torch.Size, tuple[int, ...]]:
        """Return shape and strides of the computed weight or a view of it, and any other tensor as it is."""
        if self.computed is None or torch.is_autocast_enabled(tensor.device.type):
            return tensor
        if tensor.data_ptr() != self.computed.data_ptr():
            return tensor
        return tensor.shape, tensor.stride()

    @torch.no_grad()
    def unpack(self, saved: Tensor | tuple[torch.Size, tuple[int, ...]]) -> Tensor:
        """Return the tensor that `pack` received."""
        if isinstance(saved, Tensor):
            return saved
        computed: Tensor = self.weight.forward(original_weight(self.layer))
        return computed.as_strided(*saved)


class Reparametrised(Method):
    """Method that computes each layer's weight from the base's, in training by a PyTorch parametrization."""

    component: ClassVar[str]
    """Name of the stored component in `sizes.csv`."""
    entries: tuple[str, ...]
    """Last parts of the names of the stored tensors of each layer."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Freeze the network and register the parametrizations; return their parameters, normalisation and head."""
        freeze(start.network)
        modules = []
        for name, layer in self.layers(start.network):
            module = self.make_parametrization(layer, name, start)
            parametrize.register_parametrization(layer, "weight", module, unsafe=True)
            _Recomputation(layer, module)
            modules.append(module)
        return [*self.groups(modules, start), task_group(start)]

    def layers(self, network: nn.Module) -> Iterator[tuple[str, Layer]]:
        """Yield name and module of the layers to parametrize; all others keep the base's weights."""
        return trunk_layers(network)

    @abstractmethod
    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a new parametrization of the weight of the layer ``name``, which has the base's weight."""

    @abstractmethod
    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the parameters of all parametrizations as groups."""

    def store(self, network: nn.Module) -> list[Component]:
        """Return the stored tensors of all layers as one component, with normalisation and head."""
        tensors = {
            f"{name}.{key}": tensor
            for name, layer in self.layers(network)
            for key, tensor in parametrization_of(layer).stored().items()
        }
        return [Component(self.component, tensors), *task_components(network)]

    @abstractmethod
    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the task's weight of a layer from the base's and the stored tensors, bit-identical to training."""

    def writer(self, layers: Sequence[StoredLayer]) -> Callable[[], None]:
        """Return a function that writes the task's weight into each layer.

        Raises:
            StorageError: a stored tensor does not fit its layer; the message names the layer. The function that is
                returned can raise it too.
        """

        def write() -> None:
            for name, layer, base, stored in layers:
                with layer_in_errors(name):
                    layer.weight.copy_(self.weight(layer, base, stored))

        return write

    def load_weights(self, network: nn.Module, base: State, tensors: State) -> None:
        """Compute the task's weights and load them into ``network``, in place; see `Method.load_weights`.

        Raises:
            StorageError: a stored tensor is missing or does not fit.
        """
        self.loader(network, base, tensors)

    @torch.no_grad()
    def loader(self, network: nn.Module, base: State, tensors: State) -> Callable[[], None]:
        """Load the task's weights, and return a function that computes and loads them again; see `Method.loader`.

        Raises:
            StorageError: a stored tensor is missing or does not fit.
        """
        require_task(network, tensors)
        remaining, layers = dict(tensors), []
        trunk = {name: base[name] for name in trunk_state(network)}
        for name, layer in self.layers(network):
            for key in self.entries:
                if f"{name}.{key}" not in remaining:
                    raise StorageError(
                        f"tensor {key!r} of layer {name!r} is missing; the stored task belongs to another network"
                    )
            stored = {key: remaining.pop(f"{name}.{key}") for key in self.entries}
            layers.append((name, layer, trunk.pop(f"{name}.weight"), stored))
        copy, write = copier(network, {**trunk, **remaining}), self.writer(layers)

        @torch.no_grad()
        def load() -> None:
            copy()
            write()

        load()
        return load


@contextmanager
def layer_in_errors(name: str) -> Iterator[None]:
    """Run a block that uses the stored tensors of a layer; a `StorageError` starts with the layer's name.

    Raises:
        StorageError: the error of the block, with the name.
    """
    try:
        yield
    except StorageError as error:
        raise StorageError(f"layer {name!r}: {error}") from error


def split_entry(tensors: State, entry: str) -> tuple[State, State]:
    """Return two mappings: the tensors whose names do not end with ``.<entry>``, and those whose names do."""
    of_entry = {name: tensor for name, tensor in tensors.items() if name.endswith(f".{entry}")}
    return {name: tensor for name, tensor in tensors.items() if name not in of_entry}, of_entry


def parametrization_of(layer: nn.Module) -> LayerWeight:
    """Return the `LayerWeight` that is registered on a layer during training."""
    (module,) = (module for module in layer.modules() if isinstance(module, LayerWeight))
    return module


def original_weight(layer: nn.Module) -> nn.Parameter:
    """Return the parameter that the parametrization of a layer takes as its input."""
    return layer.get_parameter("parametrizations.weight.original")


def modules_group(
    name: str, modules: Iterable[nn.Module], start: Start, lr_multiplier: float = 1.0
) -> ParameterGroup:
    """Return all parameters of ``modules`` as the group ``name``, without weight decay.

    Its learning rate is that of weights times ``lr_multiplier``.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return ParameterGroup(name, parameters, start.training.learning_rate * lr_multiplier)
