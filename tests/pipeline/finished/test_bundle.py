"""Bundle of the small study: `palimpsest evaluate` gives the study's figures."""

import json
from pathlib import Path

import pandas as pd
import pytest

import palimpsest
from tests.pipeline.conftest import Study
from tests.pipeline.finished.test_study import SEQUENCE

pytestmark = pytest.mark.slow

DATA = {"voc-seg": "voc"}


@pytest.fixture(scope="module", params=["piggyback", "resblock6"])
def method(request: pytest.FixtureRequest, finished: Study) -> str:
    """Write the bundle of a method to the folder of the study, and return the name of the method."""
    finished.run(
        "palimpsest", "bundle", "--preset", "mini", "--method", request.param, "-o", f"{request.param}.safetensors"
    )
    return str(request.param)


@pytest.mark.parametrize("task", SEQUENCE)
def test_the_figures_are_those_of_the_study_to_the_last_digit(finished: Study, method: str, task: str) -> None:
    data = f"data/mini/raw/{DATA.get(task, 'coco')}"
    command = ["palimpsest", "evaluate", f"{method}.safetensors", "--task", task, "--data", data, "--json"]
    measured = json.loads(finished.run(*command).stdout)
    metrics = pd.read_csv(finished.folder / "results/mini/metrics.csv")
    rows = metrics[(metrics.method == method) & (metrics.task == task) & (metrics.after == SEQUENCE[-1])]
    assert measured["metrics"] == dict(zip(rows.metric, rows.value, strict=True))
    assert measured["std_error"] == dict(zip(rows.metric, rows.std_error, strict=True))
    assert {measured["checksum"]} == set(rows.checksum) and {measured["images"]} == set(rows.images)


def test_the_header_has_the_figures_of_the_study(finished: Study, method: str) -> None:
    bundle = palimpsest.open(finished.folder / f"{method}.safetensors")
    metrics = pd.read_csv(finished.folder / "results/mini/metrics.csv")
    for task in SEQUENCE:
        rows = metrics[(metrics.method == method) & (metrics.task == task) & (metrics.after == SEQUENCE[-1])]
        quality = bundle.entry(task).quality
        assert quality is not None and quality.metrics == dict(zip(rows.metric, rows.value, strict=True))


def test_a_folder_without_the_targets_of_a_task_is_one_line(finished: Study, tmp_path: Path) -> None:
    command = ["palimpsest", "evaluate", "--preset", "mini", "--task", "coco-seg", "--data"]
    for data, message in (
        (str(tmp_path), "no files in the layout of COCO or VOC"),
        ("absent", "absent: no such folder; correct the path"),
        ("data/mini/raw/voc", "unknown category"),
    ):
        done = finished.run(*command, data, check=False)
        assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
