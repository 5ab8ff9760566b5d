"""All tasks of a method in memory at once, over one network that is switched between them in milliseconds."""

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
    """One network, its base's weights once, and what each task has stored: a mask stays packed, one bit per weight.

    Example:
        >>> tasks = TaskSwitcher(stored, [segmentation, painting])  # doctest: +SKIP
        >>> answer = tasks.switch("style-gogh")(pictures)  # doctest: +SKIP
    """

    def __init__(self, stored: StoredTasks, tasks: Sequence[Task], device: torch.device | str = "cpu") -> None:
        """Read every task's file once; what tasks share is as the last of them in the sequence left it.

        Raises:
            StorageError: a file is missing, damaged or of another network.
        """
        sequence = list(stored.sequence)
        last = max((task.name for task in tasks), key=sequence.index)
        held: dict[int, tuple[Tensor, Tensor]] = {}

        def once(state: State) -> State:
            """Move tensors to the device, each once: what tasks share is one object, since files are read once."""
            for tensor in state.values():
                if id(tensor) not in held:
                    held[id(tensor)] = tensor, tensor.to(device)
            return {name: held[id(tensor)][1] for name, tensor in state.items()}

        self.loaded_tasks: dict[str, LoadedTask] = {}
        self.heads: dict[str, nn.Module] = {}
        for task in tasks:
            found = stored.load(task.name, after=last)
            self.loaded_tasks[task.name] = replace(found, base=once(found.base), tensors=once(found.tensors))
            network = build_network(found.network, task.head_channels).to(device)
            self.heads[task.name] = network.head.requires_grad_(False)
        self.network: nn.Module = network.eval().requires_grad_(False)

    def switch(self, task: str) -> nn.Module:
        """The network, in place, as it runs a task: the same bit for bit, however often it is switched.

        float32 (N, 3, H, W) in [0, 1] → (N, head_channels, H, W), as `palimpsest.networks` says.
        """
        self.network.head = self.heads[task]
        self.loaded_tasks[task].apply(self.network)
        return self.network
