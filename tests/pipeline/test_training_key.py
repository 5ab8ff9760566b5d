"""Identity of a training: edits of the code that make its checkpoint unusable."""

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
    """Return a function that computes the identity of a base training in a folder with a copy of the code."""
    study = new_study()
    for name in ("src", "pipeline"):
        shutil.copytree(ROOT / name, name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    job = training_job(study.settings, 0, BASE, "shapes")
    return lambda: training_key(job, study.prepared, StoredTasks.of(study.settings, 0, BASE))


def append(file: str, line: str) -> None:
    """Append a line to a source file."""
    path = Path("src/palimpsest", file)
    path.write_text(f"{path.read_text('utf-8')}{line}\n", "utf-8")


def test_an_edited_comment_leaves_the_checkpoint_usable(key: Callable[[], str]) -> None:
    before = key()
    append("training/loop.py", "# edited")
    append("report/page.py", "EDITED = True")
    assert key() == before


def test_an_edited_statement_makes_another_training(key: Callable[[], str]) -> None:
    before = key()
    append("training/loop.py", "EDITED = True")
    assert key() != before
