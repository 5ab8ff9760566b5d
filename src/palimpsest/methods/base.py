"""The interface between a method of continual learning and everything else.

A method is said in few words: what it starts from (the table in `palimpsest.methods`), what trains, what is
added to the loss, what happens between steps and after training, and what has to be stored, to run the task
and to go on learning. How the methods of the field map onto these words:

==================  ==========  ============================  ===========================  ========================
method              from        `begin_task`: what trains     while and after training     `store`
==================  ==========  ============================  ===========================  ========================
scratch             nothing     everything                                                 network
fine-tune           previous    everything                                                 network (shared)
ewc                 previous    everything                    `penalty`; `after_training`  network (shared),
                                                              estimates the Fisher         fisher (to learn)
lwf                 previous    everything                    `penalty`: earlier tasks'    network (shared)
                                                              answers on the new pictures
packnet             previous    weights still free            `after_step` prunes at a     network, owner of
                                                              share of the steps;          each weight (shared)
                                                              `diagnostics`: what is free
decoder             base        decoder                                                    decoder
batchnorm           base        nothing else                                               nothing else
adapter, low rank   base        convolutions beside the                                    adapter
                                base's
modulation          base        size and mean of each kernel                               modulation
bitdelta            base        changes, then signs, scales   `after_step` quantises       signs, scales
piggyback, ternary  base        scores over frozen weights    `after_step` may average     mask
piggyback-affine    base        scores, scalars                                            mask, scalars
piggyback-gan       previous    free filters, coefficients                                 coefficients, free
                                of all others                                              filters (shared)
joint               nothing     everything, own layers of     `set_active_task` changes    network (shared)
                                each task                     the layers of a task
resblock6, 9        base        residual blocks                                            blocks
piggyback-resblock  base        scores over frozen blocks                                  mask
==================  ==========  ============================  ===========================  ========================

Normalisation (component ``batchnorm``) and the 1×1 head belong to the task in every method: they always train and
are always stored. The rest of a network is its trunk (`palimpsest.networks.trunk`). Methods over frozen weights
leave the trunk's biases and bare parameters, as a layer scale, at the base's values.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.groups import TrainingSettings
from palimpsest.networks.trunk import (
    UNUSED,
    head_state,
    let_train,
    normalisation_state,
    task_parameters,
    trunk_parameters,
    trunk_state,
)
from palimpsest.tasks.base import Batch, Task

State = Mapping[str, Tensor]
"""Tensors by their names in the network."""


MASK = "mask"
"""The component of methods that say which of the base's weights take part; see `Component.kept`."""
KEPT = ("mask", "taken")
"""Last parts of the names of tensors that hold one bit per weight of a layer."""


@dataclass(frozen=True)
class Component:
    """One part of what a task leaves behind, under the names of the network's layers."""

    name: str
    tensors: State
    shared: bool = False
    """One for all tasks: what a later task stores takes its place."""
    needed_to: Literal["run", "learn"] = "run"
    """``learn``: only further learning needs it, as a Fisher matrix."""

    @property
    def kept(self) -> State:
        """By layer, the packed bits that say which of its weights take part; nothing where there are none."""
        split = {name: name.rpartition(".") for name in self.tensors}
        return {layer: self.tensors[name] for name, (layer, _, key) in split.items() if key in KEPT}


@dataclass(frozen=True)
class EarlierTask:
    """An earlier task: what was stored of it, and what it measures."""

    task: Task
    components: tuple[Component, ...]

    @property
    def tensors(self) -> State:
        """All tensors by their names, those that only further learning needs too."""
        return {name: tensor for component in self.components for name, tensor in component.tensors.items()}


@dataclass(frozen=True)
class Start:
    """Inputs of a method at the start of a task."""

    network: nn.Module
    """As the method's start says (random, the base, or as the task before left it), with a fresh head."""
    task: Task
    training: TrainingSettings
    earlier: Sequence[EarlierTask] = ()
    """The tasks learned before, oldest first; empty for methods that start from nothing or from the base."""
    batches: Callable[[], Iterator[Batch]] | None = None
    """Fresh passes over the training pictures of this task."""
    together: Sequence[Task] = ()
    """All tasks of a method that learns them at once, of which ``task`` is the first."""


@dataclass
class ParameterGroup:
    """Parameters that train with the same settings."""

    name: str
    parameters: list[nn.Parameter]
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's means of gradients and of squared gradients."""
    lr_end: float = 1.0
    """Progress, from 0 to 1, at which the learning rate reaches zero."""
    setting: str = "training.learning_rate"
    """Setting of the learning rate, for messages that advise to lower it."""


class Method(ABC):
    """Method of learning one more task with a frozen or moving network, with the state of at most one training."""

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings

    @abstractmethod
    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Freeze, parametrize or extend ``start.network`` in place, and say what trains, which may be nothing."""

    def set_active_task(self, network: nn.Module, task: str) -> None:
        """Have the network run one of the tasks that are learned together."""

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor | None:
        """Return a term to add to the task's loss, which is given without its gradient; None for no term."""
        return None

    def after_step(self, network: nn.Module, progress: float) -> None:
        """React to a finished step; ``progress`` is 1.0 after the last one."""

    def after_training(self, network: nn.Module) -> None:
        """Finish the training: called once after the last step, before the task is stored."""

    def diagnostics(self, network: nn.Module) -> dict[str, float]:
        """Numbers that say how the training went, as how much room is left; kept with the stored task."""
        return {}

    @abstractmethod
    def store(self, network: nn.Module) -> list[Component]:
        """Return the components to store for this task, including normalisation and head."""

    def plain_state(self, network: nn.Module) -> State:
        """Return the tensors that the network computes with, under the names of the plain network.

        Parametrizations are evaluated. `store` has no part in it, so that a measurement of these tensors can be
        compared with what is stored.
        """
        return {**trunk_state(network), **normalisation_state(network), **head_state(network)}

    def load_weights(self, network: nn.Module, base: State, tensors: State) -> None:
        """Make ``network`` run a stored task, whatever it ran before.

        ``base`` are the base network's tensors, the head's left out, and only read; none for a method that starts
        from nothing. ``tensors`` are the task's own components and the shared ones as the last learned task left
        them. Unless a method says otherwise they stand in for the base's tensors of the same names.

        Raises:
            StorageError: a tensor of the network is missing, or one does not fit.
        """
        require_task(network, tensors)
        state = {**base, **tensors}
        require_whole(network, state)
        load_into(network, state)


def require_task(network: nn.Module, tensors: State) -> None:
    """Refuse a stored task that lacks a tensor of normalisation or head.

    Raises:
        StorageError: names it.
    """
    for component in task_components(network):
        missing = sorted(set(component.tensors) - set(tensors))
        if missing:
            raise StorageError(f"the stored task lacks {missing[0]!r} ({component.name}): it is not whole")


def require_whole(network: nn.Module, tensors: State) -> None:
    """Refuse tensors that are not all of a network's.

    Raises:
        StorageError: names the first that is missing.
    """
    missing = [name for name in network.state_dict() if name not in tensors and not name.endswith(UNUSED)]
    if missing:
        raise StorageError(f"the stored task lacks {missing[0]!r}: it is not whole")


def load_into(network: nn.Module, tensors: State) -> None:
    """Copy tensors into the network's of the same names; the others stay.

    Raises:
        StorageError: the network has no tensor of one of these names, or one of another shape.
    """
    own = network.state_dict()
    for name, tensor in tensors.items():
        if name not in own:
            raise StorageError(f"the network has no tensor {name!r}: the stored task is of another network")
        if own[name].shape != tensor.shape:
            raise StorageError(f"{name}: expected shape {tuple(own[name].shape)}, found {tuple(tensor.shape)}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)  # of which `Module.load_state_dict` makes more ado


def task_components(network: nn.Module) -> list[Component]:
    """Return normalisation and head, which every method stores with the task."""
    return [
        Component("batchnorm", normalisation_state(network)),
        Component("head", head_state(network)),
    ]


def task_group(start: Start, parameters: Iterable[nn.Parameter] | None = None) -> ParameterGroup:
    """Return normalisation and head as one group; the given parameters where several tasks have their own."""
    own = let_train(task_parameters(start.network) if parameters is None else parameters)
    return ParameterGroup("task", own, start.training.learning_rate * start.training.head_lr_multiplier)


def everything(start: Start) -> list[ParameterGroup]:
    """Return the whole network as groups: the trunk, then normalisation and head."""
    return [weight_group(start), task_group(start)]


def weight_group(start: Start, part: str = "") -> ParameterGroup:
    """Return the trunk as one group; one part of it, as ``decoder``, where given."""
    weights = let_train(trunk_parameters(start.network, part))
    return ParameterGroup("weights", weights, start.training.learning_rate, start.training.weight_decay)
