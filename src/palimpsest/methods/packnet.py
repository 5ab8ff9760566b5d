"""`packnet`: one network in which each task owns a part of the weights.

Idea: half of a trained network's weights can be pruned without loss; the next task trains the pruned weights.
Formula: task k runs with W ∘ [0 < owner ≤ k]. Trained: for a share of the steps all weights without an owner, then
only those of largest magnitude, which the task keeps; BatchNorm, head. Stored: one network and, for each weight,
the number of the task that owns it. Forgets: nothing, because owned weights and the BatchNorm and heads of earlier
tasks stay frozen; but free weights run out. Biases and bare parameters of the trunk, such as a layer scale, train
with the first task and are frozen after it. Source: Mallya and Lazebnik, PackNet, CVPR 2018.
Deliberately different: the first task starts from the base network that all methods share, and prunes it; one
learning-rate schedule covers training, pruning and retraining (original: a schedule for each of the two trainings);
the last task prunes too, so the weights that it gives up stay unused (original: may keep all); BatchNorm belongs to
each task (original: frozen after the first).
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
    require_all,
    require_task,
    task_components,
    task_group,
)
from palimpsest.methods.masks import pack, unpack
from palimpsest.methods.packnet_settings import PackNetSettings
from palimpsest.methods.reparametrised import LayerWeight, layer_in_errors, original_weight, parametrization_of
from palimpsest.networks.trunk import Layer, enable_gradients, freeze, trunk_layers, trunk_parameters, trunk_state

NUMBER = "packnet.task"
"""Name of the tensor with the number of the task, from 1."""
OWNER = "owner"
"""Last part of the names of the tensors with the owner of each weight."""


class PackedWeight(LayerWeight):
    """Parametrization of one layer that trains free weights and keeps the weights of earlier tasks."""

    kept: Tensor
    """Weights before this training; those with an owner keep this value."""
    owner: Tensor
    """Number of the task that owns each weight; 0 for free weights."""
    active: Tensor
    """True for weights that this task may use: all before pruning, the kept free weights after it."""

    def __init__(self, weight: Tensor, owner: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", weight.clone())
        self.register_buffer("owner", owner)
        self.register_buffer("active", torch.ones_like(owner, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        """Return owned weights unchanged, free weights as trained, and pruned weights as zero."""
        return torch.where(self.owner > 0, self.kept, weight * self.active)

    def stored(self) -> dict[str, Tensor]:
        """Return no tensors, because `PackNet.store` stores the network of all tasks."""
        return {}

    @torch.no_grad()
    def prune(self, weight: Tensor, keep: float) -> None:
        """Keep the share ``keep`` of the free weights, those of largest magnitude; prune all other free weights."""
        free = self.owner == 0
        number = math.ceil(keep * int(free.sum()))
        magnitude = torch.where(free, weight.abs(), -1.0).flatten()
        active = torch.zeros_like(magnitude, dtype=torch.bool)
        active[magnitude.topk(number).indices] = True
        self.active.copy_(active.view(weight.shape))

    def owned(self, task: int) -> Tensor:
        """Return the owner of each weight once ``task`` owns the free weights that it kept, uint8."""
        return torch.where((self.owner == 0) & self.active, torch.tensor(task, dtype=torch.uint8), self.owner)


class PackNet(Method):
    """Method that prunes during each training: kept weights belong to the task, pruned weights to later tasks."""

    settings: PackNetSettings

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Return the parameters to train: free weights, normalisation and head, for the first task also biases.

        Raises:
            TrainingError: no weight is free.
            StorageError: an owner tensor of the previous task does not fit its layer.
        """
        previous = start.earlier[-1].tensors if start.earlier else {}
        self.number = int(previous[NUMBER]) + 1 if previous else 1
        freeze(start.network)
        weights = []
        for name, layer in list(trunk_layers(start.network)):
            weight = layer.weight.detach()
            owner = torch.zeros_like(weight, dtype=torch.uint8)
            if previous:
                with layer_in_errors(name):
                    owner = unpack_numbers(previous[f"{name}.{OWNER}"], weight.shape)
            parametrize.register_parametrization(layer, "weight", PackedWeight(weight, owner), unsafe=True)
            weights += enable_gradients([original_weight(layer)])
        if not previous:
            weights += enable_gradients(self.bare_parameters(start.network))
        if not any((packed.owner == 0).any() for _, _, packed in packed_layers(start.network)):
            raise TrainingError(
                f"no weight is free for task {self.number}: method_settings.packnet.keep is {self.settings.keep}; "
                "lower it"
            )
        training = start.training
        return [
            ParameterGroup("weights", weights, training.learning_rate, training.weight_decay),
            task_group(start),
        ]

    def bare_parameters(self, network: nn.Module) -> list[nn.Parameter]:
        """Return the parameters of the trunk that are not weights of layers, such as biases."""
        weights = {id(original_weight(layer)) for _, layer, _ in packed_layers(network)}
        return [parameter for parameter in trunk_parameters(network) if id(parameter) not in weights]

    def after_step(self, network: nn.Module, progress: float) -> None:
        """Prune all layers once, as soon as ``progress`` reaches the setting `pruned_after`."""
        if progress < self.settings.pruned_after:
            return
        for _, layer, packed in packed_layers(network):
            if packed.active.all():
                packed.prune(original_weight(layer), self.settings.keep)

    def store(self, network: nn.Module) -> list[Component]:
        """Return trunk and owners, which replace those of earlier tasks, and number, normalisation and head.

        Weights without an owner are stored as zero.
        """
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
        """Return ``free``, the share of weights that no task owns after this training."""
        owners = torch.cat([packed.owned(self.number).flatten() for _, _, packed in packed_layers(network)])
        return {"free": float((owners == 0).float().mean())}

    @torch.no_grad()
    def load_weights(self, network: nn.Module, base: State, tensors: State) -> None:
        """Load the weights that the stored task and earlier tasks own; all other weights become zero.

        ``base`` is not used.

        Raises:
            StorageError: a tensor is missing or does not fit.
        """
        state = dict(tensors)
        require_task(network, state)
        try:
            number = int(state.pop(NUMBER))
            for name, layer in trunk_layers(network):
                with layer_in_errors(name):
                    owner = unpack_numbers(state.pop(f"{name}.{OWNER}"), layer.weight.shape)
                weight = state[f"{name}.weight"]
                state[f"{name}.weight"] = torch.where((owner > 0) & (owner <= number), weight, 0.0)
        except KeyError as error:
            raise StorageError(f"the tensor {error} is missing from the stored task") from error
        require_all(network, state)
        load_into(network, state)


def packed_layers(network: nn.Module) -> Iterator[tuple[str, Layer, PackedWeight]]:
    """Yield name, module and parametrization of each layer of the trunk during training."""
    for name, layer in trunk_layers(network):
        packed = parametrization_of(layer)
        assert isinstance(packed, PackedWeight)
        yield name, layer, packed


def pack_numbers(numbers: Tensor) -> Tensor:
    """Return uint8 numbers as packed bit planes, the lowest first: (…) → uint8 (planes, ⌈numbers / 8⌉)."""
    planes = max(1, int(numbers.max()).bit_length())
    return torch.stack([pack((numbers >> plane) & 1 > 0) for plane in range(planes)])


def unpack_numbers(planes: Tensor, shape: torch.Size) -> Tensor:
    """Return the numbers that `pack_numbers` packed, uint8 in ``shape``."""
    numbers = torch.zeros(shape, dtype=torch.uint8, device=planes.device)
    for plane, bits in enumerate(planes):
        numbers += unpack(bits, shape).to(torch.uint8) << plane
    return numbers
