"""Unusable databases stop a run before any work; trainings keep their checkpoints."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from palimpsest.errors import StorageError
from palimpsest.methods import BASE
from palimpsest.tracking import runs
from palimpsest.training.task_training import checkpoint_of
from pipeline import train
from tests.conftest import Study as SmallStudy
from tests.pipeline.conftest import copied

pytestmark = pytest.mark.slow


def test_a_damaged_database_is_reported_before_any_work(tmp_path: Path) -> None:
    study = copied(tmp_path / "project")
    (study.folder / "mlflow.db").write_bytes(b"garbage" * 1000)
    ended = study.run("snakemake", "all", check=False)
    assert ended.returncode == 1 and "Traceback" not in ended.stdout + ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        "error: mlflow.db: is damaged or no database (file is not a database);"
        " run `mv mlflow.db mlflow.db.damaged`, and the next run makes a new one"
    )
    assert not (study.folder / "logs").exists() and not (study.folder / "data").exists()
    printed = study.run("sh", "-c", "mv mlflow.db mlflow.db.damaged && snakemake -n all").stdout
    assert "prepare" in printed


def test_a_training_resumes_from_its_checkpoint_after_its_database_failed(
    prepared_study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[float] = []

    class Broken(runs.NoRun):
        """Run whose database fails in the second epoch."""

        def epochs(self, history: Any) -> None:
            logged.append(history[-1]["step"])
            if len(history) == 2 and logged.count(logged[-1]) == 1:
                raise StorageError("mlflow.db: is damaged")

    @contextmanager
    def training_run(*arguments: Any) -> Iterator[Broken]:
        yield Broken()

    monkeypatch.setattr(runs, "training_run", training_run)
    options = argparse.Namespace(seed=0, method=BASE, task="shapes")
    stored = prepared_study.layout.stored(0, BASE, "shapes")
    with pytest.raises(StorageError, match="is damaged"):
        train.main(prepared_study.settings, prepared_study.layout, options)
    assert checkpoint_of(stored).exists() and not stored.exists()
    train.main(prepared_study.settings, prepared_study.layout, options)
    assert stored.exists() and not checkpoint_of(stored).exists()
    first, second, *resumed = logged
    assert first < second and first not in resumed
