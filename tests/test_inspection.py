import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from palimpsest import tracking
from palimpsest.cli import main
from palimpsest.errors import StorageError
from palimpsest.inspection import MISSING, inspect
from palimpsest.methods import BASE

Study = Any

pytestmark = pytest.mark.slow  # MLflow takes seconds to import and to make its database


@pytest.fixture
def study(new_study: Any) -> Study:
    """A base network, two masks and a decoder, stored without training."""
    made = new_study()
    made.store_untrained(BASE, "shapes")
    for method, task in (("piggyback", "halves"), ("piggyback", "colour"), ("decoder", "halves")):
        made.store_untrained(method, task)
    return made


def test_a_stored_task_leads_back_to_settings_and_run(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = study.stored("piggyback").file("halves")
    tags = {"run_id": "r", "data_sha256": "d", "mlflow.source.git.commit": "c", "code_changed": "true"}
    runs = {(study.settings.preset, stored.sha256): tags}
    monkeypatch.setattr(tracking, "run_of", lambda preset, sha256: runs[preset, sha256])
    Path("mlflow.db").touch()
    found = inspect(stored.path)
    assert (found["seed"], found["method"], found["task"]) == (0, "piggyback", "halves")
    assert found["settings"]["network"]["width"] == 2
    assert found["base_network_sha256"] == study.stored("piggyback").file("shapes").sha256
    assert (found["mlflow_run"], found["data_sha256"]) == ("r", "d")
    assert found["commit"] == "c with uncommitted changes"


def test_what_is_not_recorded_is_said_to_be_missing_and_nothing_is_made(study: Study) -> None:
    assert not Path("mlflow.db").exists()
    assert inspect(study.stored("piggyback").path("colour"))["mlflow_run"] == MISSING
    assert not Path("mlflow.db").exists()


@pytest.fixture
def measured(study: Study) -> Study:
    """With the rows that say what was measured: the masks of both tasks, one decoder, the floor."""
    rows = ["seed,method,task", "0,floor,shapes", "0,piggyback,shapes", "0,piggyback,halves", "0,piggyback,colour"]
    rows += ["0,decoder,shapes", "0,decoder,halves"]
    table = study.layout.results / "metrics.csv"
    table.parent.mkdir(parents=True)
    table.write_text("\n".join(rows))
    return study


def test_results_lead_back_to_the_trainings_that_they_measure(measured: Study) -> None:
    study = measured
    results = study.layout.evaluation(0, "piggyback") / "metrics.csv"
    results.parent.mkdir(parents=True)
    results.touch()
    measured = inspect(results)["measures"]
    assert [Path(name).parts[-2:] for name in measured] == [
        ("base", "shapes.safetensors"),
        ("piggyback", "halves.safetensors"),
        ("piggyback", "colour.safetensors"),
    ]
    floor = study.layout.evaluation(0, "floor") / "metrics.csv"
    floor.parent.mkdir(parents=True)
    floor.touch()
    assert inspect(floor)["measures"] == {}
    page = study.layout.results / "report.html"
    page.touch()
    assert len(inspect(page)["measures"]) == 4


def test_results_of_a_training_that_is_gone_are_refused(measured: Study) -> None:
    measured.stored("decoder").path("halves").unlink()
    page = measured.layout.results / "report.html"
    page.touch()
    with pytest.raises(StorageError, match=r"decoder/halves\.safetensors: was measured, and is gone"):
        inspect(page)


def test_results_without_the_table_of_what_was_measured_are_refused(study: Study) -> None:
    page = study.layout.results / "report.html"
    page.parent.mkdir(parents=True)
    page.touch()
    with pytest.raises(StorageError, match=r"metrics\.csv is missing"):
        inspect(page)


def test_a_file_that_is_not_of_the_study_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        inspect(tmp_path / "absent.csv")
    other = tmp_path / "other.csv"
    other.touch()
    with pytest.raises(StorageError, match=r"expected a file below models/ or results/"):
        inspect(other)


def test_a_damaged_file_is_one_line(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.stored("piggyback").path("halves")
    path.write_bytes(path.read_bytes()[:-9])
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_prints_yaml(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.stored("decoder").path("halves")
    shutil.rmtree("mlruns", ignore_errors=True)
    assert main(["inspect", str(path)]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["components"].keys() == {"decoder", "batchnorm", "head"}


def test_of_a_mask_the_bits_that_are_kept_are_counted(study: Study) -> None:
    stored = study.stored("piggyback").file("halves")
    (mask,) = (part for part in stored.components if part.name == "mask")
    told = inspect(stored.path)["components"]["mask"]
    assert told["bytes"] == sum(bits.numel() for bits in mask.tensors.values())
    for layer, bits in mask.tensors.items():
        ones = sum(bin(byte).count("1") for byte in bits.tolist())
        assert told["ones"][layer] == f"{ones} in {8 * bits.numel()} bits"


def test_of_several_files_the_good_ones_are_told(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.stored("decoder").path("halves")
    assert main(["inspect", "absent.csv", str(path)]) == 1
    printed = capsys.readouterr()
    assert yaml.safe_load(printed.out)["task"] == "halves"
    assert printed.err == "error: absent.csv: there is no such file\n"
