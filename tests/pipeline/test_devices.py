"""Training on two devices in two processes, started by `python -m pipeline.train`."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from palimpsest.data.arrays import Prepared
from palimpsest.layout import Layout
from palimpsest.methods import BASE
from tests.pipeline.conftest import OF_TRAININGS, ROOT, Study, write_arrays

pytestmark = pytest.mark.slow

STORED = Layout("tiny").stored(0, BASE, "shapes")
RECORD = Layout("tiny").prediction_record(0, BASE, "shapes")
RESUME = STORED.with_suffix(".resume")
COMMAND = ("-m", "pipeline.train", "--seed", "0", "--method", "base", "--task", "shapes", "--log", "logs/train.log")
SECONDS = 120
"""Timeout of a training."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(
    content: dict[str, Any], prepared: dict[str, Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Start:
    """Return a function that starts a training on two devices in the folder of a small study."""
    monkeypatch.chdir(tmp_path)
    for name in ("src", "pipeline"):  # the code is part of a training's identity
        Path(name).symlink_to(ROOT / name)
    content["defaults"]["training"] |= {"devices": 2, "batchnorm_frozen": 0.5}
    Path("params.yaml").write_text(yaml.safe_dump(content))
    for name, arrays in prepared.items():
        write_arrays(Layout("tiny").prepared(name), arrays)

    def run(*options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *COMMAND, *options],
            env=Study(tmp_path).environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def ended(training: "subprocess.Popen[str]") -> tuple[int, str]:
    """Return exit status and stderr of all processes of a training after their end."""
    try:
        _, printed = training.communicate(timeout=SECONDS)
    finally:
        for process in [*psutil.Process(training.pid).children(), training] if training.poll() is None else []:
            process.kill()
    return training.returncode, printed


def runs() -> list[str]:
    """Return the status of every training's MLflow run."""
    with closing(sqlite3.connect("mlflow.db")) as database:
        return [status for (status,) in database.execute(f"SELECT status FROM runs WHERE {OF_TRAININGS}")]


def test_a_training_on_two_devices_is_recorded_once_and_reproducible(start: Start) -> None:
    stored = []
    for number in (1, 2):
        status, printed = ended(start())
        assert status == 0, printed
        assert {str(path) for path in Path("models").rglob("*.*")} == {str(STORED), str(RECORD)}
        assert runs() == ["FINISHED"] * number
        assert Path("logs/train.log").read_text().count("step 6/6") == number
        stored.append(STORED.read_bytes())
        STORED.unlink()
    assert stored[0] == stored[1]


def test_joint_training_may_use_different_parameters_at_each_step(start: Start) -> None:
    stored = []
    for _ in (1, 2):
        status, printed = ended(start("--method", "joint"))
        assert status == 0, printed
        files = sorted(Path("models").rglob("*.safetensors"))
        assert len(files) == len(list(Path("data/tiny/prepared").iterdir()))
        stored.append([path.read_bytes() for path in files])
        for path in files:
            path.unlink()
    assert stored[0] == stored[1]


def test_a_killed_training_on_two_devices_leaves_no_process_and_resumes_reproducibly(start: Start) -> None:
    longer = ("--config", '{"training": {"steps": 40}}')
    status, printed = ended(start(*longer))
    assert status == 0, printed
    undisturbed = STORED.read_bytes()
    STORED.unlink()
    training = start(*longer)
    while not RESUME.exists():
        time.sleep(0.01)
        assert training.poll() is None
    (second_process,) = psutil.Process(training.pid).children()
    training.kill()
    training.wait()
    second_process.wait(timeout=20)
    assert RESUME.exists() and not STORED.exists()
    status, printed = ended(start(*longer))
    assert status == 0, printed
    assert "resumed at step" in Path("logs/train.log").read_text()
    assert STORED.read_bytes() == undisturbed and runs() == ["FINISHED", "FINISHED"]
