"""Identity of a training, by which an interrupted one goes on: which edits of the code change it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from palimpsest.jobs import training_job
from palimpsest.methods import BASE
from palimpsest.storage.stored_tasks import StoredTasks
from pipeline.train import training_key
from tests.conftest import ROOT
from tests.conftest import Study as SmallStudy


@pytest.fixture
def key(new_study: Callable[..., SmallStudy]) -> Callable[[], str]:
    """Returns the identity of a training of the base network, in a folder with a copy of the code."""
    study = new_study()
    for name in ("src", "pipeline"):
        shutil.copytree(ROOT / name, name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    job = training_job(study.settings, 0, BASE, "shapes")
    return lambda: training_key(job, study.prepared, StoredTasks.of(study.settings, 0, BASE))


def append(file: str, line: str) -> None:
    """Append a line to a source file."""
    path = Path("src/palimpsest", file)
    path.write_text(f"{path.read_text('utf-8')}{line}\n", "utf-8")


def test_a_comment_that_is_edited_during_a_training_leaves_its_checkpoint_usable(key: Callable[[], str]) -> None:
    before = key()
    append("training/loop.py", "# edited")
    append("report/page.py", "EDITED = True")
    assert key() == before


def test_a_statement_that_is_edited_makes_another_training(key: Callable[[], str]) -> None:
    before = key()
    append("training/loop.py", "EDITED = True")
    assert key() != before
