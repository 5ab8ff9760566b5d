"""Damage to a task, in memory or in its file, is reported as changed."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.analysis.forgetting import measure_matrix
from palimpsest.analysis.tables import worst
from palimpsest.analysis.verification import compare, verification_rows
from palimpsest.devices import measuring_conditions
from palimpsest.errors import StorageError
from palimpsest.methods import METHODS, method_class
from palimpsest.methods.base import Component, Method, State
from palimpsest.storage.prediction_record import PredictionRecord
from palimpsest.storage.task_file import load_task, save_task
from tests.analysis.test_forgetting import FORGETS

Study = Any
Damage = Callable[[nn.Module, State, State], None]
Outcomes = dict[tuple[str, str], str]
CPU = torch.device("cpu")
PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
WITHOUT_STATISTICS = {"resblock6", "resblock9", "piggyback-resblock"}
"""Methods whose instance normalisation has no running statistics."""


@pytest.fixture
def study(trained: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """Yield a writable copy of a study in which every method has learned every task."""
    shutil.copytree("models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    yield trained


def verify(study: Study, method: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return outcome and reason of every cell of the matrix."""
    stored = study.stored(method)
    cells = list(measure_matrix(stored, study.tasks(), study.prepared, CPU, 0))
    data = {name: arrays.sha256 for name, arrays in study.prepared.items()}
    rows = verification_rows(stored, cells, "val", data, measuring_conditions(CPU))
    return {(row["task"], row["after"]): (row["outcome"], row["reason"]) for row in rows}


def outcomes(study: Study, method: str) -> Outcomes:
    return {cell: outcome for cell, (outcome, _) in verify(study, method).items()}


def rewritten(path: Path, change: Callable[[Component], Component | None]) -> None:
    """Overwrite a stored task by a valid file with changed components, without those for which it returns None."""
    file = load_task(path)
    components = [change(component) for component in file.components]
    save_task(path, [component for component in components if component is not None], file.provenance)


def altered(tensor: Tensor) -> Tensor:
    """Return a tensor with other values; not all by one factor, to which standardised kernels are invariant."""
    if tensor.dtype == torch.uint8:
        return tensor ^ 1
    return tensor * torch.linspace(0.8, 0.9, tensor.numel()).view_as(tensor)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_predictions_equal_those_recorded_unless_the_method_forgets(trained: Study, method: str) -> None:
    expected = {
        (task, after): "changed" if method in FORGETS and task != after else "verified"
        for task, after in outcomes(trained, method)
    }
    assert outcomes(trained, method) == expected and len(expected) == 6


def altered_code(name: str, tensor: Tensor) -> Tensor:
    """Return other step sizes of `coded`; other integers or another smallest weight would be no code."""
    return torch.cat([altered(tensor[:-1]), tensor[-1:]]) if name.endswith(".steps") else tensor


@torch.no_grad()
def base_updated_by_a_step(network: nn.Module, base: State, tensors: State) -> None:
    """Change the weights in memory, as a step of an optimiser does: the base's, or the task's without a base."""
    for tensor in [tensor for tensor in (base or tensors).values() if tensor.ndim == 4]:
        tensor.copy_(altered(tensor))


@torch.no_grad()
def statistics_moved(network: nn.Module, base: State, tensors: State) -> None:
    network.train()(PICTURES)
    network.eval()


@torch.no_grad()
def head_overwritten(network: nn.Module, base: State, tensors: State) -> None:
    network.get_parameter("head.weight").zero_()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [base_updated_by_a_step, statistics_moved, head_overwritten])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_damages_the_network_in_memory_is_reported_as_changed(
    study: Study, method: str, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(name: str) -> Callable[[Any], Method]:
        def build(settings: Any) -> Method:
            built = method_class(name)(settings)
            loader = built.loader

            def damaging_loader(network: nn.Module, base: State, tensors: State) -> Callable[[], None]:
                load = loader(network, base, tensors)

                def load_and_damage() -> None:
                    load()
                    damage(network, base, tensors)

                return load_and_damage

            monkeypatch.setattr(built, "loader", damaging_loader)
            return built

        return build

    monkeypatch.setattr("palimpsest.storage.stored_task.method_class", forgetful)
    if method_class(method).needs_exact_base and damage is base_updated_by_a_step:
        with pytest.raises(StorageError, match="the code is damaged"):  # it has integers for other weights
            outcomes(study, method)
        return
    results = outcomes(study, method)
    harmless = damage is statistics_moved and method in WITHOUT_STATISTICS
    assert set(results.values()) == ({"verified"} if harmless else {"changed"})


@pytest.mark.slow
@pytest.mark.parametrize("part", ["weights", "batchnorm", "head"])
@pytest.mark.parametrize("method", METHODS)
def test_an_earlier_file_that_a_later_training_overwrites_is_changed(study: Study, method: str, part: str) -> None:
    path = study.stored(method).path("halves")

    def damaged(component: Component) -> Component:
        named = component.name if component.name in ("batchnorm", "head") else "weights"
        if named != part or component.name == "number":
            return component
        return replace(
            component,
            tensors={
                name: altered_code(name, tensor) if component.name == "code" else altered(tensor)
                for name, tensor in component.tensors.items()
            },
        )

    if part == "weights" and method == "batchnorm":
        pytest.skip("batchnorm stores no weights")
    rewritten(path, damaged)
    results = verify(study, method)
    outcome, reason = results["halves", "halves"]
    assert outcome == "changed" and reason.startswith("the stored task was altered: ")
    assert results["colour", "colour"][0] == "verified"


@pytest.mark.slow
def test_a_file_overwritten_with_noise_is_changed_in_every_cell(study: Study) -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(component: Component) -> Component:
        tensors = {n: torch.rand(t.shape, generator=generator) for n, t in component.tensors.items()}
        return replace(component, tensors=tensors)

    rewritten(study.stored("scratch").path("halves"), noise)
    results = outcomes(study, "scratch")
    assert {cell for cell, outcome in results.items() if outcome == "changed"} == {
        ("halves", "halves"),
        ("halves", "colour"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["packnet", "piggyback-gan", "joint"])
def test_a_changed_shared_component_is_reported_though_earlier_files_are_unchanged(
    study: Study, method: str
) -> None:
    def moved(component: Component) -> Component:
        if not component.shared or component.name == "owners":
            return component
        return replace(component, tensors={name: altered(tensor) for name, tensor in component.tensors.items()})

    rewritten(study.stored(method).path("colour"), moved)
    results = verify(study, method)
    outcome, reason = results["halves", "colour"]
    assert outcome == "changed" and "the weights that it shares" in reason
    assert results["halves", "halves"][0] == "verified"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fine-tune", "ewc", "lwf", "packnet", "piggyback-gan", "joint"])
def test_a_missing_shared_component_is_refused(study: Study, method: str) -> None:
    path = study.stored(method).path("colour")
    rewritten(path, lambda component: None if component.shared and component.needed_to == "run" else component)
    with pytest.raises(StorageError, match=r"colour\.safetensors: the component .* is missing"):
        verify(study, method)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_an_exchanged_base_network_is_reported(study: Study, method: str) -> None:
    stored = study.stored(method)

    def exchanged(component: Component) -> Component:
        tensors = {name: altered(tensor) for name, tensor in component.tensors.items()}
        return component if component.name in ("batchnorm", "head") else replace(component, tensors=tensors)

    rewritten(stored.task_files.base, exchanged)
    if METHODS[method].adds_to_base:
        with pytest.raises(StorageError, match="expected the base network"):
            verify(study, method)
    else:
        learns_base = METHODS[method].learns_base_task  # such a method does not use the base's file
        assert outcomes(study, method)["shapes", "shapes"] == ("verified" if learns_base else "changed")


@pytest.mark.slow
def test_a_record_that_is_missing_or_of_another_task_is_refused(study: Study) -> None:
    task_files = study.stored("piggyback").task_files
    record_path, path = task_files.prediction_record("colour"), task_files.prediction_record("halves")
    path.write_bytes(record_path.read_bytes())
    with pytest.raises(StorageError, match="expected piggyback/halves of seed 0, found piggyback/colour of seed 0"):
        verify(study, "piggyback")
    path.write_text("{")
    with pytest.raises(StorageError, match=r"halves\.predictions\.json: is damaged"):
        verify(study, "piggyback")
    path.unlink()
    with pytest.raises(StorageError, match=r"halves\.predictions\.json: is missing; .*run `snakemake --cores all "):
        verify(study, "piggyback")


RECORD = PredictionRecord(
    method="scratch",
    task="halves",
    seed=0,
    checksum="c0",
    images=2,
    metrics={"miou": 50.0},
    file_sha256="f0",
    data_sha256="d0",
    trained_in="32-true",
    conditions={"device": "cpu", "threads": "1", "instructions": "AVX2"},
)
SAME = {"split": "val", "file_sha256": "f0", "data_sha256": "d0", "conditions": RECORD.conditions}


def test_other_machines_and_pictures_are_not_comparable_and_an_altered_file_is_changed() -> None:
    conditions = {**RECORD.conditions, "instructions": "AVX512", "cudnn": "9"}
    assert compare(RECORD, "c0", **{**SAME, "conditions": conditions}).outcome == "verified"
    assert compare(RECORD, "c1", **SAME).outcome == "changed"
    elsewhere = compare(RECORD, "c1", **{**SAME, "conditions": conditions})
    assert elsewhere.outcome == "not comparable"
    assert elsewhere.reason == "cudnn unknown → 9; instructions AVX2 → AVX512"
    pictures = compare(RECORD, "c1", **{**SAME, "data_sha256": "d1"})
    assert (pictures.outcome, pictures.reason) == ("not comparable", "other pictures")
    on_dev = compare(RECORD, "c1", **{**SAME, "split": "dev"})
    assert (on_dev.outcome, on_dev.reason) == ("not comparable", "recorded on val, measured on dev")
    altered_elsewhere = compare(RECORD, "c1", **{**SAME, "file_sha256": "f1", "conditions": conditions})
    assert altered_elsewhere.outcome == "changed"


def test_the_worst_outcome_counts() -> None:
    assert worst(["verified", "not comparable", "changed"]) == "changed"
    assert worst(["verified", "not comparable"]) == "not comparable"
    assert worst(["verified", "verified"]) == "verified"
    assert worst([]) is None


def test_the_conditions_name_processor_threads_and_library() -> None:
    conditions = measuring_conditions(CPU)
    assert {"device", "processor", "instructions", "threads", "torch", "precision"} == conditions.keys()
    assert conditions["torch"] == torch.__version__
    assert conditions["threads"] == str(torch.get_num_threads())
