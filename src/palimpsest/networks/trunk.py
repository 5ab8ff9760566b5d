"""The parts of a network by what becomes of them: convolutions of the trunk, BatchNorm, head.

The trunk's weights are what methods freeze, mask or move; BatchNorm and the head belong to the task. A network
says which module is its head (``network.head``) and needs no other mark.
"""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

State = dict[str, Tensor]
Convolution = nn.Conv2d | nn.ConvTranspose2d
Normalisation = _BatchNorm | nn.InstanceNorm2d


def output_channels(layer: Convolution) -> int:
    """The dimension of a layer's weight that counts its output channels."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def trunk_layers(network: nn.Module) -> Iterator[tuple[str, Convolution]]:
    """Every convolution outside the head with its name, in the order of the forward pass."""
    for name, module in network.named_modules():
        if isinstance(module, Convolution) and not name.startswith("head"):
            yield name, module


def batchnorm_layers(network: nn.Module) -> Iterator[tuple[str, Normalisation]]:
    """Every BatchNorm layer with its name, and the instance normalisation that has its place in a network."""
    for name, module in network.named_modules():
        if isinstance(module, Normalisation):
            yield name, module


def trunk_state(network: nn.Module, part: str = "") -> State:
    """Weights and biases of the trunk's convolutions; of one part, as ``decoder``, where given."""
    state = {}
    for name, module in trunk_layers(network):
        if name.startswith(part):
            state[f"{name}.weight"] = module.weight.detach()
            if module.bias is not None:
                state[f"{name}.bias"] = module.bias.detach()
    return state


def batchnorm_state(network: nn.Module) -> State:
    """Affine parameters and running statistics of every BatchNorm layer.

    `num_batches_tracked` is left out: with a fixed momentum no output depends on it.
    """
    return {
        f"{name}.{key}": value.detach()
        for name, module in batchnorm_layers(network)
        for key, value in module.state_dict().items()
        if key != "num_batches_tracked"
    }


def head_state(network: nn.Module) -> State:
    """Weight and bias of the task's head."""
    head = network.head
    assert isinstance(head, nn.Module)
    return {f"head.{key}": value.detach() for key, value in head.state_dict().items()}


def task_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that belong to the task in every method: BatchNorm's and the head's."""
    head = network.head
    assert isinstance(head, nn.Module)
    batchnorm = [p for _, module in batchnorm_layers(network) for p in module.parameters()]
    return [*batchnorm, *head.parameters()]


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
