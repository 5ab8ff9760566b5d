"""The example and the table of docs/methods.md."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from scipy.stats import ttest_ind_from_stats

from palimpsest.analysis.forgetting import measure_matrix
from palimpsest.analysis.significance import LEVEL
from palimpsest.groups import TrainingSettings
from palimpsest.methods import METHODS, Entry, default_method_settings, method_class
from palimpsest.methods.base import Component, EarlierTask, Start
from palimpsest.networks import build_network
from palimpsest.networks.trunk import normalisation_state, trunk_layers, trunk_state
from tests.conftest import ROOT, network_for

Study = Any
NAME = "palimpsest.methods.gain"
ROW = re.compile(r"^\| `([\w-]+)` \|[^|]*\| ([\d.]+) \| ([^|]+) \| ([^|]+) \| ([\d.]+|–) \|", re.MULTILINE)
ROWS = {name: cells for name, *cells in ROW.findall((ROOT / "docs/methods.md").read_text("utf-8"))}
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/methods.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_documented_method_learns_and_does_not_forget(
    new_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, entry = BLOCKS
    assert len(code.splitlines()) <= 40
    file = tmp_path / "gain.py"
    file.write_text(code, "utf-8")
    spec = importlib.util.spec_from_file_location(NAME, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, NAME, module)
    spec.loader.exec_module(module)
    for name, entered in eval(f"{{{entry}}}", {"Entry": Entry}).items():
        monkeypatch.setitem(METHODS, name, entered)
    study = new_study(methods=["gain"])
    study.learn_all("gain")
    gains = study.stored("gain").open("colour").tensors()
    gain = gains["encoder.stages.0.0.gain"]
    assert gain.shape == (2, 3, 1, 1)
    assert gain.std(dim=1).min() > 0  # BatchNorm removes a common gain of a filter's kernels
    cells = list(measure_matrix(study.stored("gain"), study.tasks(), study.prepared, torch.device("cpu"), 1))
    for task in study.settings.sequence:
        assert len({cell.measurement.checksum for cell in cells if cell.task == task}) == 1


def test_rows_of_the_table_are_methods() -> None:
    assert ROWS and ROWS.keys() <= METHODS.keys()


def test_every_method_has_a_row() -> None:
    assert ROWS.keys() == METHODS.keys()


@pytest.mark.parametrize("method", ROWS)
def test_a_row_agrees_with_forgetting_and_start_of_the_method(method: str) -> None:
    entry, (_, starts, forgets, _) = METHODS[method], ROWS[method]
    assert (forgets in ("**yes**", "less")) == entry.can_forget and (forgets == "–") == entry.together
    expected = {"nothing": {"nothing"}, "previous": {"the task before", "base and earlier tasks"}}
    assert starts in expected.get(entry.starts_from, {starts})


@pytest.mark.parametrize("method", ROWS)
def test_a_row_has_the_measured_final_quality_or_a_dash(method: str) -> None:
    table = pd.read_csv(ROOT / "docs/results/mini/forgetting.csv").set_index("method")
    measured = table.get("final_quality", {})
    assert ROWS[method][-1] == (f"{100 * measured[method]:.1f}" if method in measured else "–")


@pytest.mark.parametrize("method", [name for name, row in ROWS.items() if row[2] == "less"])
def test_a_method_that_forgets_less_has_the_p_value_of_its_backward_transfer(method: str) -> None:
    table = pd.read_csv(ROOT / "docs/results/mini/forgetting.csv").set_index("method")
    columns = ["backward_transfer", "backward_transfer_std"]
    (less, deviation), (more, other) = table.loc[method, columns], table.loc["fine-tune", columns]
    p = ttest_ind_from_stats(less, deviation, 3, more, other, 3, equal_var=False).pvalue  # of three seeds
    assert more < less and p < LEVEL
    figure = f"= {p:.3f}" if p >= 0.001 else "< 0.001"
    assert re.search(rf"{figure} for `{method}`", (ROOT / "docs/methods.md").read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ROWS)
def test_a_task_needs_as_many_bytes_as_in_the_table(method: str) -> None:
    entry = METHODS[method]
    network = build_network(network_for(method, width=64), head_channels=21)
    base = Component("network", {**trunk_state(network), **normalisation_state(network)})
    earlier = (EarlierTask(None, (base,)),) if entry.starts_from == "previous" and method != "packnet" else ()  # type: ignore[arg-type]
    learner = method_class(method)(default_method_settings().get(method))
    task = SimpleNamespace(name="task", head_channels=21)
    learner.begin_task(Start(network, task, TrainingSettings(), earlier, together=(task,)))  # type: ignore[arg-type]
    grown = ("bank", "owners")  # shared by all tasks, and growing with each
    counted = [
        component
        for component in learner.store(network)
        if component.name in grown or not (component.shared or component.name in ("batchnorm", "head"))
    ]
    stored = sum(tensor.nbytes for component in counted for tensor in component.tensors.values())
    if method == "coded":  # without training, its code is shorter than the size that the setting allows
        weights = sum(layer.weight.numel() for _, layer in trunk_layers(network))
        assert 0 < stored < learner.settings.bits * weights / 8
        stored = learner.settings.bits * weights / 8
    assert float(ROWS[method][0]) == round(stored / 2**20, 2)
