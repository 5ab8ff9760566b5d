import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from palimpsest.cli import main
from palimpsest.composition_settings import CompositionSettings
from palimpsest.errors import StorageError
from palimpsest.inspection import MISSING, NO_DATABASE, inspect
from palimpsest.jobs import composition_job, evaluation_job
from palimpsest.methods import BASE, METHODS
from palimpsest.methods.bitdelta import QuantisedDelta
from palimpsest.methods.masks import Mask
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.provenance import origin
from palimpsest.storage.task_file import save_task
from palimpsest.tracking import runs

Study = Any

pytestmark = pytest.mark.slow  # importing MLflow and making its database takes seconds


@pytest.fixture
def study(new_study: Any) -> Study:
    """Return a study with a base network, two masks and a decoder, stored without training."""
    made = new_study()
    made.store_untrained(BASE, "shapes")
    for method, task in (("piggyback", "halves"), ("piggyback", "colour"), ("decoder", "halves")):
        made.store_untrained(method, task)
    return made


def test_a_stored_task_has_settings_and_run(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = study.stored("piggyback").open("halves")
    recorded = {(study.settings.preset, stored.sha256): "r"}
    monkeypatch.setattr(runs, "run_of_tensors", lambda *of: recorded.get(of))
    Path("mlflow.db").touch()
    report = inspect(stored.path)
    assert (report["seed"], report["method"], report["task"]) == (0, "piggyback", "halves")
    assert report["settings"]["network"]["width"] == 2
    assert report["base_network_sha256"] == study.stored("piggyback").open("shapes").sha256
    assert (report["commit"], report["data_sha256"]) == ("c0ffee", "da7a")
    assert report["mlflow_run"] == "r"
    assert inspect(study.stored("piggyback").path("colour"))["mlflow_run"] == MISSING


def test_a_missing_database_is_reported_and_not_made(study: Study) -> None:
    assert inspect(study.stored("piggyback").path("colour"))["mlflow_run"] == NO_DATABASE
    assert not Path("mlflow.db").exists()


def test_with_a_damaged_database_only_the_run_is_unknown(study: Study) -> None:
    Path("mlflow.db").write_bytes(b"garbage" * 1000)
    report = inspect(study.stored("piggyback").path("colour"))
    assert report["mlflow_run"].startswith("unknown: mlflow.db: is damaged or no database")
    assert report["method"] == "piggyback"


def test_an_empty_database_is_not_written_to(study: Study) -> None:
    Path("mlflow.db").touch()
    assert inspect(study.stored("piggyback").path("colour"))["mlflow_run"] == MISSING
    assert Path("mlflow.db").stat().st_size == 0


def test_unrecorded_values_are_reported_as_missing(study: Study) -> None:
    stored = study.stored("piggyback").open("colour")
    unknown = replace(stored.provenance, commit="", data_sha256="")  # as outside a git repository
    save_task(stored.path, stored.components, unknown)
    report = inspect(stored.path)
    assert (report["commit"], report["data_sha256"]) == (MISSING, MISSING)


@pytest.fixture
def measured(study: Study) -> Study:
    """Return the study with tables of measured masks, a decoder and the floor, and with their origins."""
    rows = ["seed,method,task", "0,floor,shapes", "0,piggyback,shapes", "0,piggyback,halves", "0,piggyback,colour"]
    rows += ["0,decoder,shapes", "0,decoder,halves"]
    table = study.layout.results / "metrics.csv"
    table.parent.mkdir(parents=True)
    table.write_text("\n".join(rows))
    for method in ("floor", "piggyback"):
        study.layout.evaluation(0, method).mkdir(parents=True)
        job = evaluation_job(study.settings, 0, method)
        study.layout.origin(0, method).write_text(origin(job, {"shapes": "5ba9e5"}))
    return study


def test_results_name_the_trainings_that_they_measure(measured: Study) -> None:
    study = measured
    results = study.layout.evaluation(0, "piggyback") / "metrics.csv"
    results.touch()
    report = inspect(results)
    assert [Path(name).parts[-2:] for name in report["measures"]] == [
        ("base", "shapes.safetensors"),
        ("piggyback", "halves.safetensors"),
        ("piggyback", "colour.safetensors"),
    ]
    assert [training["task"] for training in report["measures"].values()] == ["shapes", "halves", "colour"]
    assert all(training["settings"]["network"]["width"] == 2 for training in report["measures"].values())
    assert list(report["measured_with"]) == [str(results.parent)]
    page = study.layout.results / "report.html"
    page.touch()
    assert len(inspect(page)["measures"]) == 4


def test_results_name_settings_code_and_data_of_the_evaluation(measured: Study) -> None:
    layout = measured.layout
    floor = layout.evaluation(0, "floor") / "metrics.csv"
    floor.touch()
    report = inspect(floor)
    assert report["measures"] == {}
    (made_with,) = report["measured_with"].values()
    assert made_with["settings"]["sequence"] == measured.settings.sequence
    assert made_with["data_sha256"] == {"shapes": "5ba9e5"}
    page = layout.results / "report.html"
    page.touch()
    made_with = inspect(page)["measured_with"]
    assert list(made_with) == [str(layout.evaluation(0, method)) for method in ("floor", "piggyback", "decoder")]
    assert made_with[str(layout.evaluation(0, "decoder"))] == MISSING
    layout.origin(0, "floor").write_text("{")
    with pytest.raises(StorageError, match=r"origin\.json: is damaged"):
        inspect(page)


def test_a_composition_names_its_two_tasks(measured: Study) -> None:
    two = {"first": "halves", "second": "colour", "method": "piggyback", "ways": ["two-stage"]}
    settings = measured.settings.model_copy(update={"compositions": [CompositionSettings(**two)]})
    folder = measured.layout.composition("piggyback-halves+colour")
    folder.mkdir(parents=True)
    grid = folder / "grid.png"
    grid.touch()
    with pytest.raises(StorageError, match=r"origin\.json: the composed tasks are not recorded; delete the file"):
        inspect(grid)
    (folder / "origin.json").write_text(origin(composition_job(settings, folder.name), {"colour": "da7a"}))
    report = inspect(grid)
    assert [training["task"] for training in report["measures"].values()] == ["halves", "colour"]
    assert report["measured_with"][str(folder)]["data_sha256"] == {"colour": "da7a"}


def test_results_of_an_earlier_study_are_refused(measured: Study) -> None:
    left = measured.layout.evaluation(0, "scratch") / "metrics.csv"
    left.parent.mkdir()
    left.touch()
    with pytest.raises(StorageError, match=r"metrics\.csv: belongs to an earlier study, .*; delete it$"):
        inspect(left)


def test_results_of_a_deleted_training_are_refused(measured: Study) -> None:
    measured.stored("decoder").path("halves").unlink()
    page = measured.layout.results / "report.html"
    page.touch()
    with pytest.raises(StorageError, match=r"decoder/halves\.safetensors: was measured and is missing; `snakemake"):
        inspect(page)


def test_results_without_the_table_of_measurements_are_refused(study: Study) -> None:
    page = study.layout.results / "report.html"
    page.parent.mkdir(parents=True)
    page.touch()
    with pytest.raises(StorageError, match=r"metrics\.csv is missing"):
        inspect(page)


def test_a_file_outside_the_study_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent\.csv: is missing; name a bundle"):
        inspect(tmp_path / "absent.csv")
    unrelated = tmp_path / "other.csv"
    unrelated.touch()
    with pytest.raises(StorageError, match=r"is not below models/ or results/"):
        inspect(unrelated)


def test_a_damaged_file_gives_one_line(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.stored("piggyback").path("halves")
    path.write_bytes(path.read_bytes()[:-9])
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_prints_yaml(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.stored("decoder").path("halves")
    shutil.rmtree("mlruns", ignore_errors=True)
    assert main(["inspect", str(path)]) == 0
    report = yaml.safe_load(capsys.readouterr().out)
    assert report["components"].keys() == {"decoder", "batchnorm", "head"}


KEPT = {"piggyback": "mask", "piggyback-affine": "mask", "piggyback-ternary": "mask", "piggyback-resblock": "mask"}


@pytest.mark.parametrize("method", METHODS)
def test_components_of_every_method_are_listed(new_study: Callable[..., Study], method: str) -> None:
    study = new_study()

    def zero_first_score(network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, Mask):
                with torch.no_grad():
                    module.score.view(-1)[0] = 0

    study.store_untrained(method, "shapes" if METHODS[method].together else "halves", zero_first_score)
    stored = study.stored(method).open("halves")
    parts = inspect(stored.path)["components"]
    assert list(parts) == [part.name for part in stored.components]
    assert sum(part["tensors"] for part in parts.values()) == sum(len(part.tensors) for part in stored.components)
    assert sum(part["bytes"] for part in parts.values()) == sum(t.nbytes for t in load_file(stored.path).values())
    assert {name for name, part in parts.items() if "ones" in part} == ({"mask"} if method in KEPT else set())
    if method in KEPT:
        layers = dict(trunk_layers(build_network(stored.network, 1)))
        masked = {name: layer.weight.numel() for name, layer in layers.items() if name in parts["mask"]["ones"]}
        assert len(masked) == (24 if method == "piggyback-resblock" else len(layers))
        assert parts["mask"]["ones"] == {
            layer: f"{weights - 1} in {8 * stored.tensors()[f'{layer}.{KEPT[method]}'].numel()} bits"
            for layer, weights in masked.items()
        }


def test_changes_that_are_not_zero_are_counted_too(new_study: Callable[..., Study]) -> None:
    study = new_study(method_settings={"bitdelta": {"threshold": 0.7}})

    def change_two(network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, QuantisedDelta):
                with torch.no_grad():
                    module.delta.view(-1)[:2] = 1

    study.store_untrained("bitdelta", "halves", change_two)
    ones = inspect(study.stored("bitdelta").path("halves"))["components"]["delta"]["ones"]
    assert ones["encoder.stages.0.0"] == "2 in 56 bits"  # 2 × 3 × 3 × 3 weights


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_learned_tasks_of_every_method_can_be_inspected(
    trained: Study, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(trained.stored(method).path(task)) for task in trained.settings.sequence]
    assert main(["inspect", *paths]) == 0
    reports = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [report["task"] for report in reports] == trained.settings.sequence
    assert all("head" in report["components"] for report in reports)


def test_of_several_files_the_valid_ones_are_printed(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.stored("decoder").path("halves")
    assert main(["inspect", "absent.csv", str(path)]) == 1
    printed = capsys.readouterr()
    assert yaml.safe_load(printed.out)["task"] == "halves"
    assert printed.err == "error: absent.csv: is missing; name a bundle, or a file below models/ or results/\n"
