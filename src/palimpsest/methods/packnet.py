"""`packnet`: one network into which task after task is packed, each in weights of its own.

Idea: a trained network can be pruned by half without loss; what becomes free is room for the next task.
Formula: task k runs with W ∘ [0 < owner ≤ k]. Trained: the weights that no earlier task owns, for a share of
the steps all of them, then those of largest magnitude that the task keeps; BatchNorm, head. Stored: one network
and, for each weight, the number of the task that owns it. Forgets: nothing, since owned weights, BatchNorm and
heads of earlier tasks stay as they are; but room runs out. Biases and bare parameters of the trunk, as a layer
scale, train with the first task and are frozen after it. Source: Mallya and Lazebnik, PackNet, CVPR 2018.
Deliberately different: the first task starts from the base network that all methods share, and prunes it;
BatchNorm belongs to each task (there it is frozen after the first).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from palimpsest.errors import StorageError, TrainingError
from palimpsest.methods.base import (
    Component,
    Method,
    ParameterGroup,
    Start,
    State,
    load_into,
    require_task,
    require_whole,
    task_components,
    task_group,
)
from palimpsest.methods.masks import pack, unpack
from palimpsest.methods.reparametrised import LayerWeight, learned, original
from palimpsest.networks.trunk import Layer, freeze, let_train, trunk_layers, trunk_parameters, trunk_state

NUMBER = "packnet.task"
OWNER = "owner"


class PackedWeight(LayerWeight):
    """The layer's own weight is what trains; what earlier tasks own is laid over it and stays."""

    kept: Tensor
    owner: Tensor
    active: Tensor

    def __init__(self, weight: Tensor, owner: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", weight.clone())
        self.register_buffer("owner", owner)
        self.register_buffer("active", torch.ones_like(owner, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        """Owned weights as they were; of the others those that this task has not given back."""
        return torch.where(self.owner > 0, self.kept, weight * self.active)

    def stored(self) -> dict[str, Tensor]:
        """Nothing by itself: all tasks are stored as one network."""
        return {}

    @torch.no_grad()
    def prune(self, weight: Tensor, keep: float) -> None:
        """Keep this share of the free positions, those of the largest weights, and free the others again."""
        free = self.owner == 0
        number = math.ceil(keep * int(free.sum()))
        magnitude = torch.where(free, weight.abs(), -1.0).flatten()
        active = torch.zeros_like(magnitude, dtype=torch.bool)
        active[magnitude.topk(number).indices] = True
        self.active.copy_(active.view(weight.shape))

    def owned(self, task: int) -> Tensor:
        """Return the owner of each position, once this task is done: uint8 in the shape of the weight."""
        return torch.where((self.owner == 0) & self.active, torch.tensor(task, dtype=torch.uint8), self.owner)


class PackNet(Method):
    """Prune, freeze what is kept, and train the rest for the next task."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Let the weights that are free train, with normalisation and head."""
        last = start.earlier[-1].tensors if start.earlier else {}
        self.number = int(last[NUMBER]) + 1 if last else 1
        freeze(start.network)
        weights = []
        for name, layer in list(trunk_layers(start.network)):
            weight = layer.weight.detach()
            owner = torch.zeros_like(weight, dtype=torch.uint8)
            if last:
                owner = unpack_numbers(last[f"{name}.{OWNER}"], weight.shape)
            parametrize.register_parametrization(layer, "weight", PackedWeight(weight, owner), unsafe=True)
            weights += let_train([original(layer)])
        if not last:
            weights += let_train(self.rest(start.network))
        if not any((packed.owner == 0).any() for _, _, packed in packed_layers(start.network)):
            raise TrainingError(
                f"no weight is free for task {self.number}: lower method_settings.packnet.keep,"
                f" which is {self.settings.keep}"
            )
        training = start.training
        return [
            ParameterGroup("weights", weights, training.learning_rate, training.weight_decay),
            task_group(start),
        ]

    def rest(self, network: nn.Module) -> list[nn.Parameter]:
        """Return the parameters of the trunk that are no layer's weight."""
        weights = {id(original(layer)) for _, layer, _ in packed_layers(network)}
        return [parameter for parameter in trunk_parameters(network) if id(parameter) not in weights]

    def after_step(self, network: nn.Module, progress: float) -> None:
        """Prune once, and train on with what is kept."""
        if progress < self.settings.pruned_after:
            return
        for _, layer, packed in packed_layers(network):
            if packed.active.all():
                packed.prune(original(layer), self.settings.keep)

    def store(self, network: nn.Module) -> list[Component]:
        """Return the network with all that is owned, and who owns it, in place of those stored before."""
        weights, owners = trunk_state(network), {}
        for name, layer, packed in packed_layers(network):
            owner = packed.owned(self.number)
            weights[f"{name}.weight"] = layer.weight.detach() * (owner > 0)
            owners[f"{name}.{OWNER}"] = pack_numbers(owner)
        return [
            Component("network", weights, shared=True),
            Component("owners", owners, shared=True),
            Component("number", {NUMBER: torch.tensor([self.number], dtype=torch.uint8)}),
            *task_components(network),
        ]

    def diagnostics(self, network: nn.Module) -> dict[str, float]:
        """``free``: the share of weights that no task owns."""
        owners = torch.cat([packed.owned(self.number).flatten() for _, _, packed in packed_layers(network)])
        return {"free": float((owners == 0).float().mean())}

    @torch.no_grad()
    def load_weights(self, network: nn.Module, base: State, tensors: State) -> None:
        """Return the weights that this task and those before it own."""
        rest = dict(tensors)
        require_task(network, rest)
        try:
            number = int(rest.pop(NUMBER))
            for name, layer in trunk_layers(network):
                owner = unpack_numbers(rest.pop(f"{name}.{OWNER}"), layer.weight.shape)
                weight = rest[f"{name}.weight"]
                rest[f"{name}.weight"] = torch.where((owner > 0) & (owner <= number), weight, 0.0)
        except KeyError as error:
            raise StorageError(f"the stored task lacks {error}: it is not whole") from error
        require_whole(network, rest)
        load_into(network, rest)


def packed_layers(network: nn.Module) -> Iterator[tuple[str, Layer, PackedWeight]]:
    """Layers by name, and what is laid over their weights."""
    for name, layer in trunk_layers(network):
        packed = learned(layer)
        assert isinstance(packed, PackedWeight)
        yield name, layer, packed


def pack_numbers(numbers: Tensor) -> Tensor:
    """Small numbers as planes of bits, the lowest first: uint8 (…) → uint8 (planes, ⌈positions / 8⌉)."""
    planes = max(1, int(numbers.max()).bit_length())
    return torch.stack([pack((numbers >> plane) & 1 > 0) for plane in range(planes)])


def unpack_numbers(planes: Tensor, shape: torch.Size) -> Tensor:
    """Return the inverse of `pack_numbers`: uint8 in the shape that was packed."""
    numbers = torch.zeros(shape, dtype=torch.uint8, device=planes.device)
    for plane, bits in enumerate(planes):
        numbers += unpack(bits, shape).to(torch.uint8) << plane
    return numbers
