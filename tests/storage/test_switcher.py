import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import palimpsest
from palimpsest.bundling import bundle_study
from palimpsest.errors import CodeError
from palimpsest.methods import METHODS
from palimpsest.methods.masks import PLANES
from palimpsest.networks.buffers import aligned
from palimpsest.networks.trunk import trunk_state
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


def bytes_of_tensors() -> int:
    """Return the bytes of all tensors in memory, also those that a function or another tensor keeps."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def test_the_base_is_in_memory_once_and_each_task_adds_its_bits(stored_study: NewStudy, tmp_path: Path) -> None:
    study = stored_study("piggyback")
    base, *masked = study.settings.sequence
    bundle_study(study.settings, 0, "piggyback").save(tmp_path / "tasks.safetensors")
    bundle = palimpsest.open(tmp_path / "tasks.safetensors")
    loaded = {name: bundle.load(name) for name in bundle.tasks}
    trunk = trunk_state(loaded[base].new_network()).values()
    weights = sum(aligned(tensor.numel()) for tensor in trunk)
    before = bytes_of_tensors()
    with_one = TaskSwitcher({base: loaded[base], masked[0]: loaded[masked[0]]})
    first = bytes_of_tensors() - before
    network = sum(tensor.nbytes for tensor in with_one.network.state_dict().values())
    heads = sum(tensor.nbytes for head in with_one.heads.values() for tensor in head.state_dict().values())
    bits = weights // 8 + 4 * PLANES
    padding = 4 * (weights - sum(tensor.numel() for tensor in trunk))
    assert first <= network + heads + 4 * weights + padding + bits  # the mapped file's weights move into a buffer
    with_all = TaskSwitcher(loaded)
    added = bytes_of_tensors() - before - first
    heads = sum(tensor.nbytes for head in with_all.heads.values() for tensor in head.state_dict().values())
    assert added <= network + heads + padding + bits * len(masked)  # a second network, but no second base


def test_a_network_that_was_converted_is_not_switched(stored_study: NewStudy) -> None:
    study = stored_study("piggyback")
    switcher = TaskSwitcher.of(study.stored("piggyback"), study.tasks())
    switcher.network.double()
    with pytest.raises(CodeError, match=r"TaskSwitcher: .* converted; choose"):
        switcher.switch("colour")


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
