import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from palimpsest.bundling import bundle_study
from palimpsest.methods import METHODS
from palimpsest.storage.switcher import TaskSwitcher
from tests.conftest import ROOT

Study = Any
NewStudy = Callable[..., Study]
PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def output(network: nn.Module) -> torch.Tensor:
    prediction: torch.Tensor = network(PICTURES)
    assert not prediction.requires_grad  # a graph would keep weights that the next switch overwrites
    return prediction


@pytest.mark.parametrize("method", METHODS)
def test_a_switched_network_has_the_output_of_the_loaded_one(stored_study: NewStudy, method: str) -> None:
    study = stored_study(method)
    stored, tasks = study.stored(method), study.tasks()
    switcher = TaskSwitcher.of(stored, tasks[::-1])  # any order
    for task in [*tasks, *reversed(tasks)]:
        recalled = stored.network(task.name, after=tasks[-1].name).requires_grad_(False)
        assert torch.equal(output(switcher.switch(task.name)), output(recalled)), task.name


def test_a_thousand_switches_change_no_bit_of_any_output(stored_study: NewStudy) -> None:
    study = stored_study("piggyback")
    switcher = TaskSwitcher.of(study.stored("piggyback"), study.tasks())
    first = {name: output(switcher.switch(name)) for name in study.settings.sequence}
    for _ in range(334):
        for name, expected in first.items():
            assert torch.equal(output(switcher.switch(name)), expected)


def test_the_base_is_in_memory_once_and_each_task_adds_its_bits(stored_study: NewStudy) -> None:
    study = stored_study("piggyback")
    switcher = TaskSwitcher.of(
        study.stored("piggyback"), study.tasks(), "meta"
    )  # every transfer to "meta" is a copy
    halves, colour = (switcher.loaded_tasks[name] for name in ("halves", "colour"))
    assert all(halves.base[name] is colour.base[name] for name in halves.base)
    masks = [tensor for tensor in halves.tensors.values() if tensor.dtype == torch.uint8]
    weights = sum(tensor.numel() for name, tensor in halves.base.items() if tensor.ndim == 4)
    assert sum(mask.numel() for mask in masks) == pytest.approx(weights / 8, abs=len(masks))


def test_the_documented_example_paints_every_task(
    stored_study: NewStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = stored_study("piggyback")
    bundle_study(study.settings, 0, "piggyback").save(tmp_path / "tasks.safetensors")
    monkeypatch.chdir(tmp_path)
    _, code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/design.md").read_text("utf-8"), re.DOTALL)
    painted: list[tuple[str, Any]] = []
    exec(code + "    seen.append((name, painted))\n", {"seen": painted})
    assert [name for name, _ in painted] == study.settings.sequence
    assert {(picture.shape, picture.dtype) for _, picture in painted} == {((1, 96, 96, 3), np.dtype("uint8"))}
