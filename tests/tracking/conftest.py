"""Fixtures: an MLflow database per test, and the runs in it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palimpsest.tracking import store
from palimpsest.tracking.runs import training_tags
from palimpsest.tracking.store import connect

TAGS = training_tags("mini", 0, "piggyback", "voc-seg")
EPOCHS = [{"step": step, "loss": 1 / step, "images_per_second": 9.0} for step in (2.0, 4.0, 6.0)]
ROOM = "make room and run the same command again"
"""End of the message about a full disk."""


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database; making its tables takes longer than all the tests."""
    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store.experiment_of(connect(), "mini")
    return folder / "mlflow.db"


@pytest.fixture
def client(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of a new database in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(made_once, tmp_path / "mlflow.db")
    monkeypatch.setattr(store, "experiment_of", experiment_per_test(store.experiment_of, tmp_path))
    return connect()


def experiment_per_test(experiment_of: Callable[..., str], folder: Path) -> Callable[..., str]:
    """Return a function that appends the test's folder to the preset: MLflow keeps databases open by name."""
    return lambda client, preset: experiment_of(client, f"{preset}-{folder.name}")


def runs_of(client: Any, rule: str = "train") -> list[Any]:
    """Return all runs of trainings, or of another rule, oldest first."""
    experiment = store.experiment_of(client, "mini")
    of_rule = client.search_runs([experiment], f"tags.rule = '{rule}'")
    return sorted(of_rule, key=lambda run: (run.info.start_time, run.info.end_time or 0))


def points(client: Any, run: Any, metric: str = "loss") -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric))
