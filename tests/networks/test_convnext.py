"""The network of `convnext.py`, which is outside the package, with every method that supports it."""

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.analysis.forgetting import measure_matrix
from palimpsest.errors import SettingsError
from palimpsest.groups import TrainingSettings
from palimpsest.methods import METHODS, default_method_settings, method_class, works_on
from palimpsest.methods.base import Component, EarlierTask, Method, Start, load_into
from palimpsest.networks import NETWORKS, NetworkEntry, build_network
from palimpsest.networks.settings import NetworkSettings
from palimpsest.networks.trunk import task_parameters, trunk_layers, trunk_state
from palimpsest.params import resolve
from tests.conftest import ROOT
from tests.networks.convnext import ROW

Study = Any
SETTINGS = NetworkSettings(name="convnext", width=4)
ALL_TENSORS = ("scratch", "scratch-long", "fine-tune", "ewc", "lwf", "packnet", "joint")
"""Methods that train every tensor; `packnet` does so for its first task."""
REFUSED = [name for name, entry in METHODS.items() if entry.network is None and entry.kernels]


@pytest.fixture(autouse=True)
def entered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter the row during a test."""
    for name, row in ROW.items():
        monkeypatch.setitem(NETWORKS, name, row)


def supported() -> list[str]:
    """Return the methods that support the network."""
    with pytest.MonkeyPatch.context() as patch:
        for name, row in ROW.items():
            patch.setitem(NETWORKS, name, row)
        return [name for name, entry in METHODS.items() if entry.network is None and works_on(name, "convnext")]


SUPPORTED = supported()


def begun(name: str) -> tuple[Method, nn.Module, dict[str, Tensor], list[nn.Parameter]]:
    """Return a method that has begun a task, its network, the base's tensors, and the trained parameters."""
    torch.manual_seed(0)
    network = build_network(SETTINGS, 3)
    base = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    method = method_class(name)(default_method_settings().get(name))
    earlier = () if name == "packnet" else (EarlierTask(None, (Component("network", base),)),)  # type: ignore[arg-type]
    together = [SimpleNamespace(name="only", head_channels=3)]
    groups = method.begin_task(Start(network, None, TrainingSettings(), earlier, together=together))  # type: ignore[arg-type]
    return method, network, base, [parameter for group in groups for parameter in group.parameters]


def output(network: nn.Module) -> Tensor:
    with torch.inference_mode():
        return network.eval()(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))


def test_the_documented_row_is_that_of_the_example() -> None:
    row, _ = re.findall(r"```python\n(.*?)```", (ROOT / "docs/design.md").read_text("utf-8"), re.DOTALL)
    (entry,) = eval(f"{{{row}}}", {"NetworkEntry": NetworkEntry}).values()
    assert replace(entry, path=ROW["convnext"].path) == ROW["convnext"]


def test_only_methods_that_need_kernels_are_refused(content: Any) -> None:
    assert {*SUPPORTED, *REFUSED} == {name for name, entry in METHODS.items() if entry.network is None}
    for method in REFUSED:
        message = (
            f"methods: {method} does not work on the network 'convnext'; remove {method}, or set network.name to "
        )
        with pytest.raises(SettingsError, match=f"^{re.escape(message)}unet, resblock, encoder$"):
            resolve(content, {"network": SETTINGS.model_dump(), "methods": ["scratch", method]})


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_stored_task_equals_the_network_that_learned_it_bit_for_bit(name: str) -> None:
    method, network, base, parameters = begun(name)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.02 * torch.randn_like(parameter))
    method.after_step(network, 1.0)
    learned, reloaded = build_network(SETTINGS, 3), build_network(SETTINGS, 3)
    load_into(learned, method.plain_state(network))
    stored = {key: tensor for component in method.store(network) for key, tensor in component.tensors.items()}
    below = {key: tensor for key, tensor in base.items() if not key.startswith("head.")}
    method.load_weights(reloaded, below if METHODS[name].adds_to_base else {}, stored)
    assert torch.equal(output(reloaded), output(learned))
    assert reloaded.state_dict().keys() == base.keys()
    assert not torch.equal(output(reloaded), output(build_network(SETTINGS, 3)))


@pytest.mark.parametrize("name", ALL_TENSORS)
def test_a_method_that_trains_the_full_network_trains_every_tensor(name: str) -> None:
    _, network, _, parameters = begun(name)
    assert {*map(id, parameters)} == {*map(id, network.parameters())}


@pytest.mark.parametrize("name", [name for name in SUPPORTED if name not in ALL_TENSORS])
def test_biases_and_layer_scales_of_a_frozen_trunk_are_frozen(name: str) -> None:
    _, network, _, parameters = begun(name)
    trained = {*map(id, [*parameters, *task_parameters(network)])}
    weights = {f"{layer}.weight" for layer, _ in trunk_layers(network)}
    kept = {key for key in trunk_state(network) if key not in weights}
    assert {"encoder.fine.2.scale", "encoder.fine.2.project.bias", "decoder.up.bias"} <= kept
    moved = {key for key in kept if id(network.get_parameter(key)) in trained}
    assert moved == ({key for key in kept if key.startswith("decoder.")} if name == "decoder" else set())


@pytest.mark.slow
@pytest.mark.parametrize("method", SUPPORTED)
def test_a_study_with_it_is_learned_stored_and_loaded_bit_for_bit(
    new_study: Callable[..., Study], method: str
) -> None:
    study = new_study(network=SETTINGS.model_dump(), methods=[method], sequence=["shapes", "colour"])
    study.learn_all(method)
    stored, tasks = study.stored(method), study.tasks()
    learned = {task.name: stored.prediction_record(task.name).checksum for task in tasks}
    cells = {
        (cell.task, cell.after): cell.measurement.checksum
        for cell in measure_matrix(stored, tasks, study.prepared, torch.device("cpu"), 0)
    }
    assert {cell for cell, checksum in cells.items() if checksum != learned[cell[0]]} == (
        {("shapes", "colour")} if METHODS[method].can_forget else set()
    )
    assert torch.equal(output(stored.network("colour")), output(stored.network("colour")))
