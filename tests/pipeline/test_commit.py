"""What is committed while a job is at work is not what it runs, and it does not name it."""

import argparse
import json
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from palimpsest import tracking
from palimpsest.methods import BASE
from palimpsest.provenance import code_version, git
from palimpsest.storage.task_file import load_task
from pipeline import evaluate, floor, train
from tests.conftest import Study

pytestmark = pytest.mark.slow


def commit(file: str) -> None:
    """Commit a file of the code."""
    Path("src").mkdir(exist_ok=True)
    Path("src", file).touch()
    Path("Snakefile").touch()
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "-q"), ("add", "src", "Snakefile"), (*who, "commit", "-q", "-m", file)):
        subprocess.run(["git", *command], check=True)


@pytest.fixture
def committed(on_its_own: Study, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """A study in a repository; MLflow, of which a process can have one database alone, takes no part."""
    monkeypatch.setattr(tracking, "training_run", lambda *given: nullcontext(tracking.NoRun()))
    monkeypatch.setattr(tracking, "complete_runs", lambda *given: None)
    commit("first.py")
    code_version.cache_clear()
    yield on_its_own
    code_version.cache_clear()


def run(stage: ModuleType, study: Study, work: str, **options: Any) -> None:
    """Run a stage, and commit something when it comes to its work."""
    at_work = getattr(stage, work)

    def late(*given: Any, **named: Any) -> Any:
        commit("second.py")
        return at_work(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, work, late)
        stage.main(study.settings, study.layout, argparse.Namespace(seed=0, **options))


def test_a_stored_task_names_the_commit_that_its_training_started_from(committed: Study) -> None:
    started = git("rev-parse", "HEAD")
    run(train, committed, "start_fabric", method=BASE, task="shapes")
    stored = load_task(committed.layout.stored(0, BASE, "shapes"))
    assert stored.provenance.commit == started != git("rev-parse", "HEAD")


@pytest.mark.parametrize("method", ["floor", "scratch"])
def test_measurements_name_the_commit_that_the_measuring_started_from(committed: Study, method: str) -> None:
    started = git("rev-parse", "HEAD")
    if method == "floor":
        run(floor, committed, "choose_device")
    else:
        for trained, task in ((BASE, "shapes"), (method, "halves"), (method, "colour")):
            committed.store_untrained(trained, task)
        run(evaluate, committed, "choose_device", method=method)
    origin = json.loads(committed.layout.origin(0, method).read_text())
    assert origin["commit"] == started != git("rev-parse", "HEAD")
