"""Discriminator of an adversarial loss, with its own optimiser."""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from palimpsest.tasks.base import Batch, Task

LEARNING_RATE, BETAS = 2e-4, (0.5, 0.999)
"""Learning rate and (β₁, β₂) of Adam, as in pix2pix."""


class Adversary:
    """Training of a task's discriminator beside the network; every call does nothing for a task without one."""

    def __init__(self, fabric: Fabric, task: Task) -> None:
        self.fabric = fabric
        self.task = task
        self.module: nn.Module | None = task.discriminator
        if self.module is not None:
            self.module.requires_grad_(False)  # frozen during the steps of the network
            self.optimizer = torch.optim.Adam(self.module.parameters(), lr=LEARNING_RATE, betas=BETAS)

    def step(self, prediction: Tensor, batch: Batch) -> None:
        """Take one optimiser step of the discriminator, after a step of the network.

        ``prediction`` is the network's prediction for ``batch`` in its step.
        """
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
        """Return the state for a checkpoint; empty without a discriminator."""
        if self.module is None:
            return {}
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        if self.module is not None:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
