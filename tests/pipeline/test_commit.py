"""Jobs record the commit at their start, not one made while they run."""

import argparse
import json
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from palimpsest.methods import BASE
from palimpsest.provenance import code_version, git
from palimpsest.storage.task_file import load_task
from palimpsest.tracking import runs
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
def committed(prepared_study: Study, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """Yield a study in a repository, without MLflow, of which a process can have only one database."""
    monkeypatch.setattr(runs, "training_run", lambda *arguments: nullcontext(runs.NoRun()))
    monkeypatch.setattr(runs, "complete_runs", lambda *arguments: None)
    commit("first.py")
    code_version.cache_clear()
    yield prepared_study
    code_version.cache_clear()


def run(stage: ModuleType, study: Study, work: str, **options: Any) -> None:
    """Run a stage, and commit a file when its work begins."""
    at_work = getattr(stage, work)

    def late(*arguments: Any, **keywords: Any) -> Any:
        commit("second.py")
        return at_work(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, work, late)
        stage.main(study.settings, study.layout, argparse.Namespace(seed=0, **options))


def test_a_stored_task_has_the_commit_at_the_start_of_its_training(committed: Study) -> None:
    started = git("rev-parse", "HEAD")
    run(train, committed, "start_fabric", method=BASE, task="shapes")
    stored = load_task(committed.layout.stored(0, BASE, "shapes"))
    assert stored.provenance.commit == started != git("rev-parse", "HEAD")


@pytest.mark.parametrize("method", ["floor", "scratch"])
def test_measurements_have_the_commit_at_the_start_of_the_evaluation(committed: Study, method: str) -> None:
    started = git("rev-parse", "HEAD")
    if method == "floor":
        run(floor, committed, "choose_device")
    else:
        for trained, task in ((BASE, "shapes"), (method, "halves"), (method, "colour")):
            committed.store_untrained(trained, task)
        run(evaluate, committed, "choose_device", method=method)
    origin = json.loads(committed.layout.origin(0, method).read_text())
    assert origin["commit"] == started != git("rev-parse", "HEAD")
