"""The interface between a method of continual learning and the rest of the code.

A method defines the weights that it starts from (in the table of `palimpsest.methods`), the parameters that train,
a penalty added to the loss, actions between steps and after training, and the tensors to store for inference and
for further training. The methods use this interface as follows:

==================  ==========  ============================  ===========================  ========================
method              starts      parameters that               during and after training    `store`
                    from        `begin_task` returns
==================  ==========  ============================  ===========================  ========================
scratch             nothing     all                                                        network
fine-tune           previous    all                                                        network (shared)
ewc                 previous    all                           `penalty`; `after_training`  network (shared),
                                                              estimates the Fisher         fisher (for training)
lwf                 previous    all                           `penalty`: distance to the   network (shared)
                                                              earlier tasks' predictions
packnet             previous    weights without an owner      `after_step` prunes once;    network, owner of
                                                              `diagnostics`: share of      each weight (shared)
                                                              free weights
decoder             base        decoder                                                    decoder
batchnorm           base        none                                                       none
adapter, low rank   base        parallel convolutions                                      adapter
modulation          base        std and mean of each kernel                                modulation
bitdelta            base        δ, then also scales           `after_step` quantises       signs, scales
coded               base        changes, step sizes           `after_step` applies their   code
                                                              costs, then freezes them
piggyback, ternary  base        mask scores                   `after_step` can average     mask
piggyback-affine    base        mask scores, scalars                                       mask, scalars
piggyback-gan       previous    new filters, coefficients                                  coefficients, all new
                                of all earlier filters                                     filters (shared)
joint               nothing     all                           `set_active_task` selects    network (shared)
                                                              the layers of a task
resblock6, 9        base        residual blocks                                            blocks
piggyback-resblock  base        mask scores of the blocks                                  mask
==================  ==========  ============================  ===========================  ========================

Normalisation (component ``batchnorm``) and the 1×1 head belong to the task in every method: they always train and
are always stored, in addition to the table. The rest of a network is its trunk (`palimpsest.networks.trunk`).
Methods that freeze the base's weights also freeze the trunk's biases and bare parameters, such as a layer scale.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.groups import TrainingSettings
from palimpsest.networks.base import Network
from palimpsest.networks.trunk import (
    UNUSED,
    enable_gradients,
    head_state,
    normalisation_state,
    task_parameters,
    trunk_parameters,
    trunk_state,
)
from palimpsest.tasks.base import Batch, Task

State = Mapping[str, Tensor]
"""Tensors by their names in the network."""


MASK = "mask"
"""Name of the component with masks over the base's weights, and of each layer's packed bits within it."""


@dataclass(frozen=True)
class Component:
    """Part of a stored task, such as its mask, BatchNorm or head; the names of its tensors begin with layers."""

    name: str
    """Name in `sizes.csv`."""
    tensors: State
    shared: bool = False
    """True if all tasks share the component: a later task replaces it."""
    needed_to: Literal["run", "learn"] = "run"
    """``run``: inference needs it; ``learn``: only further training needs it, as a Fisher matrix."""

    @property
    def mask_bits(self) -> State:
        """Packed mask by layer, one bit per weight; empty for a component without masks."""
        split = {name: name.rpartition(".") for name in self.tensors}
        return {layer: self.tensors[name] for name, (layer, _, key) in split.items() if key == MASK}


@dataclass(frozen=True)
class EarlierTask:
    """Task that was learned before, with the components of its file."""

    task: Task
    components: tuple[Component, ...]

    @property
    def tensors(self) -> State:
        """All tensors by name, including those that only further training needs."""
        return {name: tensor for component in self.components for name, tensor in component.tensors.items()}


@dataclass(frozen=True)
class Start:
    """Inputs of a method at the start of a training, for `Method.begin_task`."""

    network: Network
    """Network with the weights that `Entry.starts_from` names and a head for the task."""
    task: Task
    """Task to learn."""
    training: TrainingSettings
    earlier: Sequence[EarlierTask] = ()
    """Earlier tasks, oldest first; empty for methods that start from nothing or from the base."""
    batches: Callable[[], Iterator[Batch]] | None = None
    """Function that returns a new iterator over the training batches of this task."""
    together: Sequence[Task] = ()
    """All tasks of the training, of which ``task`` is the first; more than one only if `Entry.together` is True."""


@dataclass
class ParameterGroup:
    """Parameters that train with the same optimiser settings, and whose gradients are clipped together."""

    name: str
    parameters: list[nn.Parameter]
    learning_rate: float
    """Peak learning rate."""
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    """β₁ and β₂ of AdamW."""
    lr_end: float = 1.0
    """Progress, from 0 to 1, at which the learning rate reaches zero."""
    setting: str = "training.learning_rate"
    """Name of the learning rate's setting, for error messages."""


@dataclass(eq=False)
class Method(ABC):
    """Base class of the methods of continual learning; one instance runs one training, or loads stored tasks."""

    needs_exact_base: ClassVar[bool] = False
    """True if stored tasks need the base's weights in the precision of the training."""

    settings: Any = None
    """Settings of the method; each class with settings names their class. None for a method without settings."""

    @abstractmethod
    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Freeze, parametrize or extend ``start.network`` in place; return the groups of parameters to train.

        Without groups, no step is taken, and `after_training` runs at once.
        """

    def set_active_task(self, network: nn.Module, task: str) -> None:
        """Make the network compute this task; needed by methods that learn tasks together, others do nothing."""

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor | None:
        """Return a scalar to add to the task's loss in a step, or None for no penalty.

        ``loss`` is the detached loss of the task for ``batch``.
        """
        return None

    def after_step(self, network: nn.Module, progress: float) -> None:
        """Change the network after an optimiser step, if needed; ``progress`` rises to 1.0 at the last step."""

    def after_training(self, network: nn.Module) -> None:
        """Complete the training, if the method needs that: called once after the last step, before `store`."""

    def diagnostics(self, network: nn.Module) -> dict[str, float]:
        """Return figures about the training by name, such as the share of free weights; by default none.

        The stored task records them.
        """
        return {}

    @abstractmethod
    def store(self, network: nn.Module) -> list[Component]:
        """Return the components to store for the active task, including normalisation and head."""

    def plain_state(self, network: nn.Module) -> State:
        """Return the tensors that a trained network computes with, under the names of a network without changes.

        Parametrizations are evaluated. The result does not depend on `store`, so that a measurement with these
        tensors can verify the stored task.
        """
        return {**trunk_state(network), **normalisation_state(network), **head_state(network)}

    def load_weights(self, network: nn.Module, base: State, tensors: State) -> None:
        """Load a stored task into ``network``, in place; the network may hold another task.

        ``base`` contains the base network's tensors without the head; they are only read. It is empty for a task
        that needs no base network. ``tensors`` are those of the task's components. By default they replace the
        base's tensors of the same names.

        Raises:
            StorageError: a tensor of the network is missing, or one does not fit.
        """
        require_task(network, tensors)
        state = {**base, **tensors}
        require_all(network, state)
        load_into(network, state)

    def loader(self, network: nn.Module, base: State, tensors: State) -> Callable[[], None]:
        """Do what `load_weights` does, and return a function that does it again whenever it is called.

        A network that switches between tasks has such a function for each task. A method can override it to check
        and prepare the tensors only once. Until the last call, the tensors of the network and of the arguments must
        stay where they are in memory.

        Raises:
            StorageError: as in `load_weights`.
        """
        self.load_weights(network, base, tensors)
        return partial(self.load_weights, network, base, tensors)


def require_task(network: nn.Module, tensors: State) -> None:
    """Check that a stored task has all tensors of normalisation and head.

    Raises:
        StorageError: a tensor is missing; the message names it.
    """
    for component in task_components(network):
        missing = sorted(set(component.tensors) - set(tensors))
        if missing:
            raise StorageError(f"the tensor {missing[0]!r} ({component.name}) is missing from the stored task")


def require_all(network: nn.Module, tensors: State) -> None:
    """Check that ``tensors`` contains all tensors of a network.

    Raises:
        StorageError: a tensor is missing.
    """
    missing = [name for name in network.state_dict() if name not in tensors and not name.endswith(UNUSED)]
    if missing:
        raise StorageError(f"the tensor {missing[0]!r} is missing from the stored task")


def load_into(network: nn.Module, tensors: State) -> None:
    """Copy tensors into the network's tensors of the same names; all others stay.

    Raises:
        StorageError: as in `copier`.
    """
    copier(network, tensors)()


def copier(network: nn.Module, tensors: State) -> Callable[[], None]:
    """Return a function that copies tensors into the network's tensors of the same names; all others stay.

    Raises:
        StorageError: the network has no tensor of one of these names, or one of another shape or type.
    """
    state = network.state_dict()
    for name, tensor in tensors.items():
        if name not in state:
            raise StorageError(f"the network has no tensor {name!r}; the stored task belongs to another network")
        if state[name].shape != tensor.shape:
            raise StorageError(f"{name}: expected shape {tuple(state[name].shape)}, found {tuple(tensor.shape)}")
        if state[name].is_floating_point() != tensor.is_floating_point():
            raise StorageError(f"{name}: expected the type {state[name].dtype}, found {tensor.dtype}")
    targets, sources = ([of[name].detach() for name in tensors] for of in (state, tensors))
    return partial(torch._foreach_copy_, targets, sources)  # faster than `Module.load_state_dict`


def task_components(network: nn.Module) -> list[Component]:
    """Return normalisation and head as components, which every method stores with the task."""
    return [
        Component("batchnorm", normalisation_state(network)),
        Component("head", head_state(network)),
    ]


def task_group(start: Start, parameters: Iterable[nn.Parameter] | None = None) -> ParameterGroup:
    """Return the parameters of normalisation and head as one group, and enable their gradients.

    ``parameters`` replace them, as in joint training, where each task has its own.
    """
    trained = enable_gradients(task_parameters(start.network) if parameters is None else parameters)
    return ParameterGroup("task", trained, start.training.learning_rate * start.training.head_lr_multiplier)


def all_groups(start: Start) -> list[ParameterGroup]:
    """Return all parameters as two groups, trunk and task (normalisation and head), and enable their gradients."""
    return [weight_group(start), task_group(start)]


def with_multipliers(
    groups: Iterable[ParameterGroup], network: Network, training: TrainingSettings
) -> list[ParameterGroup]:
    """Return the groups at the learning rates of ``training``.

    All rates are multiplied by `TrainingSettings.lr_multiplier`. The parameters in ``network.backbone``, which are
    weights, what a method trains in their place, and BatchNorm, become separate groups; their rates are also
    multiplied by `TrainingSettings.encoder_lr_multiplier`. They are separate for every value of it, because the
    gradients of each group are clipped together.
    """
    inside = backbone_parameters(network)
    split: list[ParameterGroup] = []
    for given in groups:
        group = replace(given, learning_rate=given.learning_rate * training.lr_multiplier)
        slow = [parameter for parameter in group.parameters if id(parameter) in inside]
        if not slow:
            split.append(group)
            continue
        rest = [parameter for parameter in group.parameters if id(parameter) not in inside]
        split += [replace(group, parameters=rest)] if rest else []
        rate = group.learning_rate * training.encoder_lr_multiplier
        split.append(replace(group, name=f"{group.name} of the encoder", parameters=slow, learning_rate=rate))
    return split


def backbone_parameters(network: Network) -> set[int]:
    """Return the identities of the parameters in ``network.backbone``; empty without a backbone."""
    backbone = network.backbone
    return set() if backbone is None else {id(p) for p in network.get_submodule(backbone).parameters()}


def weight_group(start: Start, submodule: str = "") -> ParameterGroup:
    """Return the trunk, or one submodule of it such as ``decoder``, as one group, and enable its gradients."""
    weights = enable_gradients(trunk_parameters(start.network, submodule))
    return ParameterGroup("weights", weights, start.training.learning_rate, start.training.weight_decay)
