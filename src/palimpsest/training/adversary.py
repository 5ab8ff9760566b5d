"""What learns against the network: the discriminator of an adversarial loss, with an optimiser of its own."""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from palimpsest.tasks.base import Batch, Task

LEARNING_RATE, BETAS = 2e-4, (0.5, 0.999)
"""Of Adam, as in pix2pix."""


class Adversary:
    """Takes a step after each step of the network; does nothing where the task has none."""

    def __init__(self, fabric: Fabric, task: Task) -> None:
        self.fabric = fabric
        self.task = task
        self.module: nn.Module | None = task.discriminator
        if self.module is not None:
            self.module.requires_grad_(False)  # while the network learns
            self.optimizer = torch.optim.Adam(self.module.parameters(), lr=LEARNING_RATE, betas=BETAS)

    def step(self, prediction: Tensor, batch: Batch) -> None:
        """Learn to tell the network's prediction from the truth."""
        if self.module is None:
            return
        self.module.requires_grad_(True)
        with self.fabric.autocast():
            loss = self.task.discriminator_loss(prediction.detach(), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self.module.parameters():
            assert parameter.grad is not None
            parameter.grad = self.fabric.all_reduce(parameter.grad)  # type: ignore[assignment]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.module.requires_grad_(False)

    def state(self) -> dict[str, Any]:
        """What an interrupted training needs to go on."""
        if self.module is None:
            return {}
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        if self.module is not None:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
