"""`palimpsest doctor` names what is wrong and how to mend it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from palimpsest import cli, doctor
from tests.conftest import CONTENT


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def findings(*arguments: str, status: int, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    ended = cli.main(["doctor", "--json", *arguments])
    seen = {entry["topic"]: (entry["state"], entry["text"]) for entry in json.loads(capsys.readouterr().out)}
    assert ended == status, seen
    return seen


def write_params(**changes: Any) -> None:
    """Write a params.yaml with one task, whose data are generated."""
    drawn = {"format": "coco", "source": "generated", "generate": {"train2017": 1, "val2017": 1}}
    changed = {"sequence": ["colour"], "methods": ["scratch"], "datasets": {"drawn": drawn}}
    defaults = {**CONTENT["defaults"], **changed}
    Path("params.yaml").write_text(yaml.safe_dump({**CONTENT, "defaults": defaults, **changes}), "utf-8")


def test_a_sound_machine_has_no_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**34))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**34))
    monkeypatch.setattr("palimpsest.machine.gpus", lambda: 0)
    write_params()
    seen = findings(status=0, capsys=capsys)
    assert [topic for topic, (state, _) in seen.items() if state == "fault"] == []
    assert {
        "version",
        "packages",
        "processor",
        "memory",
        "disk",
        "GPU",
        "settings",
        "data",
        "tracking",
    } <= seen.keys()
    assert seen["commit"][0] == "note" and "git" in seen["commit"][1]
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(seen) and lines[0].startswith("ok     version")


def test_a_tracking_server_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    state, text = findings(status=1, capsys=capsys)["tracking server"]
    assert state == "fault" and text.startswith("http://127.0.0.1:9: the tracking server does not answer")


def test_without_a_study_only_the_machine_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    seen = findings(status=0, capsys=capsys)
    assert seen["study"] == ("note", "no params.yaml in this folder: only commands on bundles work here")
    assert "settings" not in seen


def test_missing_and_old_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    required = [
        "lost-package>=1",
        "numpy>=99",
        "pillow",
        "also-lost; extra == 'export'",
        "pandas; extra == 'pipeline'",
    ]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: required)
    seen = {finding.topic: (finding.state, finding.text) for finding in doctor.packages()}
    state, text = seen["packages"]
    assert state == "fault" and text.startswith("lost-package is missing, numpy ")
    assert text.endswith("is older than >=99; run: pip install palimpsest")
    assert seen["extra export"] == ("note", "also-lost is missing; run: pip install 'palimpsest[export]'")
    assert seen["extra pipeline"] == ("ok", "complete")


@pytest.mark.parametrize(
    ("name", "value", "topic", "text"),
    [
        (
            "psutil.virtual_memory",
            SimpleNamespace(available=2**30),
            "memory",
            "1.0 GiB of memory are free; end other",
        ),
        ("shutil.disk_usage", SimpleNamespace(free=2**29), "disk", "0.5 GiB are free in "),
        ("palimpsest.machine.gpus", 2, "GPU", "2 NVIDIA GPUs, which PyTorch "),
    ],
)
def test_a_lack_is_a_fault(
    name: str,
    value: object,
    topic: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(name, lambda *arguments: value)
    state, message = findings(status=1, capsys=capsys)[topic]
    assert state == "fault" and message.startswith(text)


@pytest.mark.parametrize(
    ("changes", "topic", "text"),
    [
        (
            {"presets": {"tiny": {"training": {"step": 1}}}},
            "settings",
            "training.step: unknown setting; did you mean",
        ),
        (
            {
                "presets": {
                    "tiny": {"datasets": {"drawn": {"format": "coco", "source": "directory", "root": "lost"}}}
                }
            },
            "data",
            "datasets.drawn",
        ),
    ],
)
def test_faults_of_a_study_are_named(
    changes: dict[str, Any], topic: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(**changes)
    state, message = findings(status=1, capsys=capsys)[topic]
    assert state == "fault" and message.startswith(text)


def test_a_damaged_database_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    Path("mlflow.db").write_text("nothing")
    state, message = findings(status=1, capsys=capsys)["tracking"]
    assert state == "fault" and "mv mlflow.db" in message
