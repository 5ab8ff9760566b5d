"""Layers of each task in joint training."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.groups import TrainingSettings
from palimpsest.methods.base import Start
from palimpsest.methods.joint import Joint


class Plain(nn.Module):
    """Network with a trunk of one weight, BatchNorm and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(1, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.trunk(x)))  # type: ignore[no-any-return]


@pytest.fixture
def begun() -> tuple[Joint, Any]:
    torch.manual_seed(0)
    network, method = Plain(), Joint(None)
    # a task may have the name of an attribute of modules
    tasks = [SimpleNamespace(name=name, head_channels=count) for name, count in (("labels", 5), ("train", 3))]
    method.begin_task(Start(network, tasks[0], TrainingSettings(), together=tasks))  # type: ignore[arg-type]
    return method, network.train()


def test_a_task_uses_its_layers_and_changes_no_statistics_of_another(begun: tuple[Joint, Any]) -> None:
    method, network = begun
    method.set_active_task(network, "labels")
    assert network(torch.rand(2, 1, 4, 4)).shape[1] == 5
    before = {name: tensor.clone() for c in method.store(network) for name, tensor in c.tensors.items()}
    method.set_active_task(network, "train")
    assert network(torch.rand(2, 1, 4, 4)).shape[1] == 3
    colour = {name: tensor.clone() for c in method.store(network) for name, tensor in c.tensors.items()}
    method.set_active_task(network, "labels")
    after = {name: tensor for c in method.store(network) for name, tensor in c.tensors.items()}
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert not torch.equal(colour["norm.running_mean"], after["norm.running_mean"])
    assert torch.equal(colour["trunk.weight"], after["trunk.weight"])
