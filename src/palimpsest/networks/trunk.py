"""Partition of a network's tensors by what becomes of them: trunk, normalisation, head.

The trunk is what methods freeze, mask or move: the weights of convolutions and linear layers, their biases, and
parameters that a module holds by itself, as a layer scale. Normalisation layers and the head belong to the task.
A network names its head (``network.head``); its normalisation layers are known by their class.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import parametrize

State = dict[str, Tensor]
Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
"""Layer whose weight a method can compute from another: (out, in, h, w), transposed (in, out, h, w), (out, in)."""

NORMALISATION: tuple[type[nn.Module], ...] = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Classes of normalisation layers, unless a network names others (`Network.normalisation`)."""
UNUSED = "num_batches_tracked"
"""Buffer of BatchNorm that no output depends on with a fixed momentum, and that is not stored."""


def output_channels(layer: Layer) -> int:
    """Return the dimension of a layer's weight that counts its output channels."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def trunk_layers(network: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Yield the layers of the trunk whose weights methods compute, by name, in the order of definition."""
    for name, module, normalises in _outside_head(network):
        if isinstance(module, Layer) and not normalises:
            yield name, module


def trunk_modules(network: nn.Module, part: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that hold tensors of the trunk, by name; those of one part, as ``decoder``, where given."""
    for name, module, normalises in _outside_head(network):
        if not normalises and in_part(name, part) and _held_names(module):
            yield name, module


def normalisation_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the normalisation layers outside the head by name."""
    return ((name, module) for name, module, normalises in _outside_head(network) if normalises)


def trunk_state(network: nn.Module, part: str = "") -> State:
    """Return the tensors of the trunk; those of one part, as ``decoder``, where given."""
    return {
        joined(name, key): tensor.detach()
        for name, module in trunk_modules(network, part)
        for key, tensor in held(module).items()
    }


def normalisation_state(network: nn.Module) -> State:
    """Return affine parameters and running statistics of the normalisation layers."""
    return {
        joined(name, key): value.detach()
        for name, module in normalisation_layers(network)
        for key, value in stored_state(module).items()
    }


def head_state(network: nn.Module) -> State:
    """Return the tensors of the task's head."""
    return {f"head.{key}": value.detach() for key, value in stored_state(head_of(network)).items()}


def trunk_parameters(network: nn.Module, part: str = "") -> list[nn.Parameter]:
    """Return the parameters of the trunk; below a parametrization, those that it computes from."""
    return [
        parameter
        for _, module in trunk_modules(network, part)
        for owner in (module, *_parametrizations(module))
        for parameter in owner.parameters(recurse=owner is not module)
    ]


def task_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that belong to the task in every method: normalisation's and the head's."""
    normalisation = [p for _, module in normalisation_layers(network) for p in module.parameters()]
    return [*normalisation, *head_of(network).parameters()]


def head_of(network: nn.Module) -> nn.Module:
    """Return the task's own last layer."""
    head = network.head
    assert isinstance(head, nn.Module)
    return head


def stored_state(module: nn.Module) -> State:
    """Return the tensors of a module and the modules below it that outputs depend on."""
    return {key: value for key, value in module.state_dict().items() if key.rpartition(".")[2] != UNUSED}


def held(module: nn.Module) -> State:
    """Return the tensors that a module itself holds, with those of its parametrizations evaluated."""
    return {key: getattr(module, key) for key in _held_names(module)}


def in_part(name: str, part: str) -> bool:
    """Return whether a module's name lies in a part of the network; '' is the whole network."""
    return not part or f"{name}.".startswith(f"{part}.")


def joined(name: str, key: str) -> str:
    """Return the name of a tensor in a network; the network's own module has the name ''."""
    return f"{name}.{key}" if name else key


def partition_fault(network: nn.Module) -> str:
    """Return a sentence about the first tensor that is not in exactly one part of the network; '' where none is.

    Methods train, freeze and store by part: a tensor outside the parts would keep its random start unnoticed.
    """
    states = trunk_state(network), normalisation_state(network), head_state(network)
    counted = Counter(name for state in states for name in state)
    expected = stored_state(network)
    for name in (*expected, *counted):
        if counted[name] != 1 or name not in expected:
            where = "in several parts" if counted[name] > 1 else "in no part" if not counted[name] else "not stored"
            return f"{name} is {where} of trunk, normalisation and head"
    parts = Counter(map(id, [*trunk_parameters(network), *task_parameters(network)]))
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if parts[id(parameter)] != 1:
            return f"{name} is trained {parts[id(parameter)]} times, as when two layers share a parameter"
    return ""


def let_train(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Let gradients reach these parameters; returns them."""
    chosen = list(parameters)
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def freeze(network: nn.Module) -> None:
    """Stop the gradient to every parameter."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)


def _outside_head(network: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield modules by name, and whether each is a normalisation layer.

    Neither head nor parametrizations are among them, nor anything below a normalisation layer. The order is that of
    `torch.nn.Module.named_modules`.
    """
    head, kinds = getattr(network, "head", None), getattr(network, "normalisation", NORMALISATION)
    left: list[tuple[str, nn.Module]] = [("", network)]
    while left:
        name, module = left.pop()
        normalises = isinstance(module, kinds)
        yield name, module, normalises
        if not normalises:
            skipped = (head, *_parametrizations(module))
            below = [(joined(name, key), child) for key, child in module.named_children() if child not in skipped]
            left += reversed(below)


def _held_names(module: nn.Module) -> list[str]:
    passing = module._non_persistent_buffers_set
    return [
        *(key for found in _parametrizations(module) for key, _ in found.named_children()),
        *(key for key, parameter in module._parameters.items() if parameter is not None),
        *(key for key, buffer in module._buffers.items() if buffer is not None and key not in (*passing, UNUSED)),
    ]


def _parametrizations(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return the module that holds a module's parametrizations, where it has any."""
    found = module._modules.get("parametrizations")
    return (found,) if found is not None and parametrize.is_parametrized(module) else ()
