"""All tasks of a method in memory, with one network that switches between them in milliseconds."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from palimpsest.methods.base import State
from palimpsest.networks import build_network
from palimpsest.storage.stored_task import LoadedTask
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks.base import Task


class TaskSwitcher:
    """One network, and the tensors of several tasks of a method in memory; masks stay packed, one bit per weight.

    Example:
        >>> switcher = TaskSwitcher(stored, [segmentation, painting])  # doctest: +SKIP
        >>> output = switcher.switch("style-gogh")(pictures)  # doctest: +SKIP
    """

    def __init__(self, stored: StoredTasks, tasks: Sequence[Task], device: torch.device | str = "cpu") -> None:
        """Load the stored tensors of every task in ``tasks``.

        Components that all tasks share are those of the latest of these tasks in the sequence.

        Raises:
            StorageError: a file is missing, damaged or of another network.
        """
        sequence = list(stored.sequence)
        latest = max((task.name for task in tasks), key=sequence.index)
        copies: dict[int, tuple[Tensor, Tensor]] = {}

        def on_device(state: State) -> State:
            """Return tensors on the device; a tensor that tasks share is one object and is copied once."""
            for tensor in state.values():
                if id(tensor) not in copies:
                    copies[id(tensor)] = tensor, tensor.to(device)
            return {name: copies[id(tensor)][1] for name, tensor in state.items()}

        self.loaded_tasks: dict[str, LoadedTask] = {}
        self.heads: dict[str, nn.Module] = {}
        for task in tasks:
            loaded = stored.load(task.name, after=latest)
            self.loaded_tasks[task.name] = replace(
                loaded, base=on_device(loaded.base), tensors=on_device(loaded.tensors)
            )
            network = build_network(loaded.network, task.head_channels).to(device)
            self.heads[task.name] = network.head.requires_grad_(False)
        self.network: nn.Module = network.eval().requires_grad_(False)

    def switch(self, task: str) -> nn.Module:
        """Load a task into the network and return the network, which is the same object for all tasks.

        The weights of a task are the same bit for bit after any number of switches. The network maps float32 (N, 3,
        H, W) in [0, 1] to (N, head_channels, H, W); see `Network`.
        """
        self.network.head = self.heads[task]
        self.loaded_tasks[task].apply(self.network)
        return self.network
