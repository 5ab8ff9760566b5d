"""All tasks of a method in memory, with one network that switches between them in milliseconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from palimpsest.errors import CodeError
from palimpsest.methods.base import State
from palimpsest.networks.buffers import buffer_of, join
from palimpsest.networks.trunk import trunk_layers
from palimpsest.storage.stored_task import LoadedTask
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks.base import Task


class TaskSwitcher:
    """One network, and the tensors of several tasks in memory; masks stay packed, one bit per weight.

    The weights of the network lie in one buffer and those of the base in another, in the same order, so that a
    method can compute all weights of a task at once (`Method.loader`).

    Example:
        >>> switcher = palimpsest.open("mini.safetensors").switcher()  # doctest: +SKIP
        >>> output = switcher.switch("style-gogh")(pictures)  # doctest: +SKIP
    """

    def __init__(self, loaded_tasks: Mapping[str, LoadedTask], device: torch.device | str = "cpu") -> None:
        """Copy the tensors of every task to the device, those that tasks share once; load every task once.

        Raises:
            StorageError: tensors of a task are missing or do not fit.
        """
        copies: dict[int, tuple[Tensor, Tensor]] = {}

        def on_device(state: State) -> State:
            """Return tensors on the device; a tensor that tasks share is one object and is copied once."""
            for tensor in state.values():
                if id(tensor) not in copies:
                    copies[id(tensor)] = tensor, tensor.to(device)
            return {name: copies[id(tensor)][1] for name, tensor in state.items()}

        self.heads: dict[str, nn.Module] = {}
        for name, loaded in loaded_tasks.items():
            network = loaded.new_network().to(device)
            self.heads[name] = network.head.requires_grad_(False)
        self.network: nn.Module = network.eval().requires_grad_(False)
        layers = dict(trunk_layers(network))
        join([layer.weight for layer in layers.values()])
        self._addresses = [(tensor, tensor.data_ptr()) for tensor in network.parameters()]
        self._loaders: dict[str, Callable[[], None]] = {}
        for name, loaded in loaded_tasks.items():
            network.head = self.heads[name]
            base, tensors = on_device(loaded.base), on_device(loaded.tensors)
            weights = [base[f"{layer}.weight"] for layer in layers if f"{layer}.weight" in base]
            if weights and buffer_of(weights) is None:
                join(weights)  # in place, so that on the CPU no second copy of the base comes into memory
            self._loaders[name] = replace(loaded, base=base, tensors=tensors).loader(network)

    @classmethod
    def of(cls, stored: StoredTasks, tasks: Sequence[Task], device: torch.device | str = "cpu") -> "TaskSwitcher":
        """Load stored tasks; components that all share are those of the latest of these tasks in the sequence.

        Raises:
            StorageError: a file is missing, damaged, of another network or of a task with other outputs.
        """
        latest = max((task.name for task in tasks), key=list(stored.sequence).index)
        loaded = {task.name: stored.load(task.name, after=latest) for task in tasks}
        for task in tasks:
            loaded[task.name].check_head(task.head_channels)
        return cls(loaded, device)

    def switch(self, task: str) -> nn.Module:
        """Load a task into the network and return the network, which is the same object for all tasks.

        The weights of a task are the same bit for bit after any number of switches. The network maps float32 (N, 3,
        H, W) in [0, 1] to (N, head_channels, H, W); see `Network`.

        Raises:
            CodeError: the parameters of the network were moved to another device or converted to another type.
        """
        if any(tensor.data_ptr() != address for tensor, address in self._addresses):
            raise CodeError(
                "TaskSwitcher: the parameters of its network were moved or converted; choose their device when you "
                "create the switcher, and their precision by `torch.autocast`"
            )
        self.network.head = self.heads[task]
        self._loaders[task]()
        return self.network
