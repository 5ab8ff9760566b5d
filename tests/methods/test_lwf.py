"""Distillation of learning without forgetting, checked by hand."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.groups import TrainingSettings
from palimpsest.methods.base import Component, EarlierTask, Start
from palimpsest.methods.lwf import Lwf
from palimpsest.methods.lwf_settings import LwfSettings
from palimpsest.tasks.colorization import ColorizationTask
from palimpsest.tasks.colorization_settings import ColorizationSettings
from palimpsest.tasks.segmentation import SegmentationTask
from palimpsest.tasks.segmentation_settings import SegmentationSettings


def segmentation() -> SegmentationTask:
    return SegmentationTask("any", SegmentationSettings(kind="segmentation", data="any", classes={"one": ["one"]}))


def test_labels_are_distilled_by_the_divergence_at_a_temperature() -> None:
    now = torch.tensor([0.0, 0.0]).view(1, 2, 1, 1)
    before = torch.tensor([2 * math.log(3.0), 0.0]).view(1, 2, 1, 1)  # at temperature 2: probabilities ¾ and ¼
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert segmentation().distillation(now, before, 2.0).item() == pytest.approx(expected, rel=1e-6)
    assert segmentation().distillation(before, before, 2.0).item() == pytest.approx(0, abs=1e-7)


def test_pictures_are_distilled_by_squared_difference_relative_to_variance() -> None:
    task = ColorizationTask("any", ColorizationSettings(kind="colorization", data="any"))
    target = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(1, 1, 2, 2)
    variance = (0.3**2 + 0.1**2 + 0.1**2 + 0.3**2) / 3
    assert task.distillation(target + 0.1, target, 2.0).item() == pytest.approx(0.01 / variance)
    assert task.distillation(target / 10 + 0.01, target / 10, 2.0).item() == pytest.approx(0.01 / variance)
    flat = torch.full((1, 1, 2, 2), 0.5)
    assert math.isfinite(task.distillation(flat + 0.1, flat, 2.0).item())


class Plain(nn.Module):
    """Network with a trunk of one weight and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(1, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(1)
        self.head = nn.Conv2d(1, 1, 1, bias=False)
        with torch.no_grad():
            self.trunk.weight.fill_(2.0)
            self.head.weight.fill_(5.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.trunk(x)))  # type: ignore[no-any-return]


def earlier(head: float) -> EarlierTask:
    """Return a task that predicts the raw output of its head; its BatchNorm is the identity."""
    task = SimpleNamespace(
        name="earlier",
        inputs=lambda batch: batch["picture"],
        prediction=lambda output, batch: output,
        distillation=lambda prediction, target, temperature: (
            (prediction - target).square().mean() * temperature / 2
        ),
    )
    norm = {"weight": [1.0], "bias": [0.0], "running_mean": [0.0], "running_var": [1.0 - 1e-5]}
    components = (
        Component("batchnorm", {f"norm.{key}": torch.tensor(value) for key, value in norm.items()}),
        Component("head", {"head.weight": torch.full((1, 1, 1, 1), head)}),
    )
    return EarlierTask(task, components)  # type: ignore[arg-type]


def penalty(method: Lwf, network: nn.Module, batch: dict[str, Any]) -> float:
    loss = method.penalty(network, batch, torch.ones(()))
    assert loss is not None
    return loss.item()


def test_all_earlier_heads_predict_on_the_new_pictures() -> None:
    network = Plain()
    method = Lwf(LwfSettings(weight=10.0))
    method.begin_task(Start(network, None, TrainingSettings(), (earlier(1.0), earlier(3.0))))  # type: ignore[arg-type]
    network.train()
    batch = {"picture": torch.full((1, 1, 2, 2), 1.0)}
    statistics = {name: buffer.clone() for name, buffer in network.named_buffers() if name.startswith("norm")}
    assert penalty(method, network, batch) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        network.trunk.weight.fill_(2.5)  # a change of ½ in the trunk changes outputs by ½ · head
    expected = 10 * (0.5**2 * 1 + 0.5**2 * 3**2) / 2
    assert penalty(method, network, batch) == pytest.approx(expected, rel=1e-5)
    warmer = Lwf(LwfSettings(weight=10.0, temperature=4.0))
    warmer.begin_task(Start(Plain(), None, TrainingSettings(), (earlier(1.0), earlier(3.0))))  # type: ignore[arg-type]
    assert penalty(warmer, network, batch) == pytest.approx(2 * expected, rel=1e-5)
    assert network.norm.training
    assert all(torch.equal(network.get_buffer(name), before) for name, before in statistics.items())


def test_the_gradient_reaches_the_trunk_and_not_the_teacher() -> None:
    network = Plain()
    method = Lwf(LwfSettings(weight=2.0))
    method.begin_task(Start(network, None, TrainingSettings(), (earlier(1.0),)))  # type: ignore[arg-type]
    with torch.no_grad():
        network.trunk.weight.fill_(2.5)
    loss = method.penalty(network, {"picture": torch.full((1, 1, 2, 2), 1.0)}, torch.tensor(0.5))
    assert loss is not None
    loss.backward()
    assert network.trunk.weight.grad is not None and network.trunk.weight.grad.item() == pytest.approx(
        1.0, rel=1e-4
    )
    assert all(p.grad is None for p in method.teacher.parameters())


def test_a_shared_batchnorm_normalises_by_the_batch_and_changes_no_statistics() -> None:
    network = Plain()
    method = Lwf(LwfSettings(weight=10.0, batchnorm="shared"))
    method.begin_task(Start(network, None, TrainingSettings(), (earlier(1.0),)))  # type: ignore[arg-type]
    network.train()
    batch = {"picture": torch.tensor([1.0, 3.0, 3.0, 5.0]).view(1, 1, 2, 2)}
    statistics = {name: buffer.clone() for name, buffer in network.named_buffers() if "running" in name}
    assert penalty(method, network, batch) == pytest.approx(0, abs=1e-9)  # nothing has changed, so no penalty
    with torch.no_grad():
        network.norm.bias.fill_(0.5)
    assert penalty(method, network, batch) == pytest.approx(10 * 0.5**2, rel=1e-5)
    assert all(torch.equal(network.get_buffer(name), before) for name, before in statistics.items())
    assert network.norm.momentum == 0.1
    network.norm.eval()  # as in the last steps of a training
    network.norm.bias.data.fill_(0.0)
    assert penalty(method, network, batch) == pytest.approx(0, abs=1e-9)
    assert not network.norm.training
