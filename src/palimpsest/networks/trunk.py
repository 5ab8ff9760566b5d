"""Partition of a network's tensors into trunk, normalisation and head.

Methods freeze, mask or change the trunk: weights and biases of convolutions and linear layers, and bare parameters
of modules, such as a layer scale. Normalisation layers and the head belong to the task. The head is
``network.head``; normalisation layers are those of the classes in ``network.normalisation``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import parametrize

State = dict[str, Tensor]
"""Tensors by their names in the network."""
Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
"""Layer whose weight a method can reparametrise: (out, in, h, w), transposed (in, out, h, w), linear (out, in)."""

NORMALISATION: tuple[type[nn.Module], ...] = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Classes of normalisation layers, unless a network names others (`Network.normalisation`)."""
UNUSED = "num_batches_tracked"
"""Buffer of BatchNorm that is not stored; no output depends on it, because the momentum is fixed."""


def output_channels(layer: Layer) -> int:
    """Return the index of the dimension of output channels in a layer's weight: 0, or 1 if it is transposed."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def trunk_layers(network: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Yield name and module of each layer of the trunk (`Layer`), in the order of definition."""
    for name, module, normalises in _outside_head(network):
        if isinstance(module, Layer) and not normalises:
            yield name, module


def trunk_modules(network: nn.Module, submodule: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of each module that holds tensors of the trunk, in the order of definition.

    ``submodule`` limits them to one submodule, such as ``decoder``; '' means the whole trunk.
    """
    for name, module, normalises in _outside_head(network):
        if not normalises and in_submodule(name, submodule) and _tensor_names(module):
            yield name, module


def normalisation_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of each normalisation layer outside the head, in the order of definition."""
    return ((name, module) for name, module, normalises in _outside_head(network) if normalises)


def trunk_state(network: nn.Module, submodule: str = "") -> State:
    """Return the detached tensors of the trunk, or of one submodule such as ``decoder``; weights as they compute.

    A parametrized weight is evaluated.
    """
    return {
        tensor_name(name, key): tensor.detach()
        for name, module in trunk_modules(network, submodule)
        for key, tensor in module_state(module).items()
    }


def normalisation_state(network: nn.Module) -> State:
    """Return the detached affine parameters and running statistics of the normalisation layers."""
    return {
        tensor_name(name, key): value.detach()
        for name, module in normalisation_layers(network)
        for key, value in stored_state(module).items()
    }


def head_state(network: nn.Module) -> State:
    """Return the detached tensors of the task's head."""
    return {f"head.{key}": value.detach() for key, value in stored_state(head_of(network)).items()}


def trunk_parameters(network: nn.Module, submodule: str = "") -> list[nn.Parameter]:
    """Return the parameters of the trunk, or of one submodule such as ``decoder``.

    A parametrized weight contributes the parameters of its parametrization.
    """
    return [
        parameter
        for _, module in trunk_modules(network, submodule)
        for owner in (module, *_parametrizations(module))
        for parameter in owner.parameters(recurse=owner is not module)
    ]


def task_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of normalisation layers and head, which belong to the task in every method."""
    normalisation = [p for _, module in normalisation_layers(network) for p in module.parameters()]
    return [*normalisation, *head_of(network).parameters()]


def head_of(network: nn.Module) -> nn.Module:
    """Return ``network.head``, the last layer."""
    head = network.head
    assert isinstance(head, nn.Module)
    return head


def stored_state(module: nn.Module) -> State:
    """Return the `state_dict` of a module and its submodules, without the buffers `UNUSED`."""
    return {key: value for key, value in module.state_dict().items() if key.rpartition(".")[2] != UNUSED}


def module_state(module: nn.Module) -> State:
    """Return the tensors of a module without those of its submodules; parametrized weights are evaluated."""
    return {key: getattr(module, key) for key in _tensor_names(module)}


def in_submodule(name: str, submodule: str) -> bool:
    """Return True if the module ``name`` lies in a submodule of the network; '' is the whole network."""
    return not submodule or f"{name}.".startswith(f"{submodule}.")


def tensor_name(name: str, key: str) -> str:
    """Return the name in the network of the tensor ``key`` of the module ``name``; the network's own name is ''."""
    return f"{name}.{key}" if name else key


def partition_fault(network: nn.Module) -> str:
    """Return a message about the first tensor that is not in exactly one of trunk, normalisation and head.

    Return '' if all are. Methods train, freeze and store these parts: a tensor outside of them would silently keep
    its initial value.
    """
    states = trunk_state(network), normalisation_state(network), head_state(network)
    counted = Counter(name for state in states for name in state)
    expected = stored_state(network)
    for name in (*expected, *counted):
        if counted[name] != 1 or name not in expected:
            fault = "in several parts" if counted[name] > 1 else "in no part" if not counted[name] else "not stored"
            return f"{name} is {fault} of trunk, normalisation and head"
    counts = Counter(map(id, [*trunk_parameters(network), *task_parameters(network)]))
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if counts[id(parameter)] != 1:
            return f"{name} is trained {counts[id(parameter)]} times, as when two layers share a parameter"
    return ""


def enable_gradients(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Enable the gradients of parameters, and return the parameters as a list."""
    trained = list(parameters)
    for parameter in trained:
        parameter.requires_grad_(True)
    return trained


def freeze(network: nn.Module) -> None:
    """Disable the gradients of all parameters of a network."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)


def _outside_head(network: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield name and module of each module, and True if it is a normalisation layer.

    Head, parametrizations and submodules of normalisation layers are skipped. The order is that of
    `torch.nn.Module.named_modules`.
    """
    head, classes = getattr(network, "head", None), getattr(network, "normalisation", NORMALISATION)
    stack: list[tuple[str, nn.Module]] = [("", network)]
    while stack:
        name, module = stack.pop()
        normalises = isinstance(module, classes)
        yield name, module, normalises
        if not normalises:
            skipped = (head, *_parametrizations(module))
            children = [
                (tensor_name(name, key), child) for key, child in module.named_children() if child not in skipped
            ]
            stack += reversed(children)


def _tensor_names(module: nn.Module) -> list[str]:
    skipped = (*module._non_persistent_buffers_set, UNUSED)
    return [
        *(key for parametrizations in _parametrizations(module) for key, _ in parametrizations.named_children()),
        *(key for key, parameter in module._parameters.items() if parameter is not None),
        *(key for key, buffer in module._buffers.items() if buffer is not None and key not in skipped),
    ]


def _parametrizations(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return the `ModuleDict` of a module's parametrizations; empty if it has none."""
    parametrizations = module._modules.get("parametrizations")
    return (parametrizations,) if parametrizations is not None and parametrize.is_parametrized(module) else ()
