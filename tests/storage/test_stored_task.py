"""Stored tasks open with the settings of their header."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from palimpsest.errors import StorageError
from palimpsest.methods import METHODS, default_method_settings
from palimpsest.params import resolve
from palimpsest.storage.stored_task import open_task
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import OLDER, metadata_sha256, serialised
from tests.conftest import Study

CHANGES: dict[str, dict[str, Any]] = {
    "fine-tune": {"batchnorm": "shared"},
    "ewc": {"batchnorm": "shared", "weight": 3.0},
    "lwf": {"batchnorm": "shared", "temperature": 1.0},
    "packnet": {"keep": 0.1, "pruned_after": 0.1},
    "batchnorm": {"lr_multiplier": 9.0},
    "adapter": {"rank": 2},
    "bitdelta": {"threshold": 0.7},
    "coded": {"per_kernel": False},
    "piggyback": {"threshold": -5.0, "surrogate": "sigmoid"},
    "piggyback-affine": {"initial_scalars": [1.0, 1.0, 0.0, 0.0]},
    "piggyback-ternary": {"threshold": 9e-3},
    "piggyback-gan": {"free": 0.9},
    "piggyback-resblock": {"threshold": -5.0},
}
"""Changed settings of each method that affect the interpretation of stored tensors."""


def randomised(network: nn.Module) -> None:
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -0.02, 0.02)


def output(network: nn.Module) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.inference_mode():
        answer: torch.Tensor = network.eval()(torch.rand(1, 3, 32, 32))
    return answer


def test_each_method_with_settings_has_a_row_of_changes() -> None:
    assert CHANGES.keys() == {name for name, entry in METHODS.items() if entry.settings}
    for name, settings in default_method_settings().items():
        assert not CHANGES[name].items() & settings.model_dump().items(), name


@pytest.mark.parametrize("method", CHANGES)
def test_stored_tasks_are_usable_after_a_changed_setting(
    new_study: Callable[..., Study], content: dict[str, Any], method: str
) -> None:
    study = new_study()
    study.store_untrained(method, "halves", randomised)
    before = study.stored(method).network("halves")
    edited = resolve(
        {**content, "preset": study.settings.preset, "presets": {study.settings.preset: {}}},
        {"method_settings": {method: CHANGES[method]}, "network": {"width": 4}, "pictures": {"size": 64}},
    )
    after = StoredTasks.of(edited, 0, method).network("halves")
    assert torch.equal(output(before), output(after))


def test_a_task_opens_from_its_path_alone(
    new_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study()
    study.store_untrained("piggyback-resblock", "halves", randomised)
    path = study.stored("piggyback-resblock").path("halves").resolve()
    expected = output(study.stored("piggyback-resblock").network("halves"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    opened = open_task(path)
    assert opened.task().name == "halves" and opened.task().head_channels == 2 and opened.size == 32
    assert torch.equal(output(opened.load().build()), expected)


def test_a_task_of_the_format_before_computes_the_same(new_study: Callable[..., Study]) -> None:
    study = new_study(training={"compact": False})  # as all tasks of format 3
    study.store_untrained("piggyback", "halves", randomised)
    path = study.stored("piggyback").path("halves")
    expected = output(study.stored("piggyback").network("halves"))
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), "format": OLDER[0]}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    metadata["metadata_sha256"] = metadata_sha256(metadata)
    path.write_bytes(serialised(tensors, metadata))
    assert any(name.endswith("running_var") for name in tensors)
    assert torch.equal(output(open_task(path).load().build()), expected)


def test_a_moved_base_is_named(new_study: Callable[..., Study]) -> None:
    study = new_study()
    study.store_untrained("decoder", "halves")
    base = study.stored("decoder").task_files.base
    base.rename(base.with_suffix(".moved"))
    with pytest.raises(StorageError, match=r"base/shapes\.safetensors: the stored task is missing"):
        open_task(study.stored("decoder").path("halves")).load()


def test_the_classes_keep_the_order_of_their_labels(new_study: Callable[..., Study]) -> None:
    study = new_study()
    study.store_untrained("base", "shapes")
    assert open_task(study.layout.stored(0, "base", "shapes")).task().classes == ["background", "red", "blue"]
