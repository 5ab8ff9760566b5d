"""All tasks of a method in memory at once, over one network that is switched between them in milliseconds."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from palimpsest.networks import build_network
from palimpsest.storage.recall import Recollection, StoredTasks
from palimpsest.tasks.base import Task


class ResidentTasks:
    """One network, its base's weights once, and what each task has stored: a mask stays packed, one bit per weight.

    Example:
        >>> tasks = ResidentTasks(stored, [segmentation, painting])  # doctest: +SKIP
        >>> answer = tasks.switch("style-gogh")(pictures)  # doctest: +SKIP
    """

    def __init__(self, stored: StoredTasks, tasks: Sequence[Task], device: torch.device | str = "cpu") -> None:
        """Read every task's file once.

        Raises:
            StorageError: a file is missing, damaged or of another network.
        """
        last = tasks[-1].name
        moved: dict[int, Tensor] = {}  # the base's tensors are the same for all tasks, and moved once

        def on_device(tensor: Tensor) -> Tensor:
            return moved.setdefault(id(tensor), tensor.to(device))

        self.recollections: dict[str, Recollection] = {}
        self.heads: dict[str, nn.Module] = {}
        for task in tasks:
            found = stored.recollection(task.name, after=last)
            self.recollections[task.name] = replace(
                found,
                base={name: on_device(tensor) for name, tensor in found.base.items()},
                tensors={name: on_device(tensor) for name, tensor in found.tensors.items()},
            )
            network = build_network(found.network, task.head_channels).to(device).eval()
            self.heads[task.name] = network.head
        self.network: nn.Module = network

    @torch.no_grad()
    def switch(self, task: str) -> nn.Module:
        """The network, in place, as it runs a task: the same bit for bit, however often it is switched.

        float32 (N, 3, H, W) in [0, 1] → (N, head_channels, H, W), as `palimpsest.networks` says.
        """
        self.network.head = self.heads[task]
        self.recollections[task].apply(self.network)
        return self.network
