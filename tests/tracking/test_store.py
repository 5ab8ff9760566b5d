"""Database of the runs: its creation, and full disks and damage during a training."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from palimpsest.errors import DataError, StorageError
from palimpsest.tracking import store
from palimpsest.tracking.runs import run_of_tensors, training_run
from palimpsest.tracking.store import connect
from tests.conftest import room_for
from tests.tracking.conftest import EPOCHS, ROOM, TAGS, points, runs_of

pytestmark = pytest.mark.slow  # importing MLflow and making its database takes seconds


def test_every_folder_has_a_separate_database(
    client: Any, made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(made_once, tmp_path / "other" / "mlflow.db")
    monkeypatch.chdir(tmp_path / "other")
    connect().create_experiment("only here")
    assert connect().get_experiment_by_name("only here") is not None
    monkeypatch.chdir(tmp_path)
    assert connect().get_experiment_by_name("only here") is None


def test_jobs_that_start_together_make_one_database(tmp_path: Path) -> None:
    jobs = (
        "import os\n"
        "from palimpsest.tracking.store import connect, experiment_of\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        experiment_of(connect(), 'mini')\n"
        "        os._exit(0)\n"
        "ended = [os.wait()[1] for _ in range(3)]\n"
        "assert ended == [0] * 3, ended\n"
    )
    subprocess.run([sys.executable, "-c", jobs], cwd=tmp_path, check=True, capture_output=True, text=True)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        names = database.execute("select name from experiments where name like 'palimpsest%'").fetchall()
    assert names == [("palimpsest-mini",)]


def test_an_empty_file_becomes_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mlflow.db").touch()

    def made(address: str, artifacts: str) -> None:
        Path(address.removeprefix("sqlite:///")).write_text("made")

    monkeypatch.setattr(store, "SqlAlchemyStore", made)
    monkeypatch.setattr(store, "MlflowClient", lambda *uris: None)
    connect()
    assert Path("mlflow.db").read_text() == "made"


def test_a_file_that_cannot_be_read_is_named_and_not_kept(client: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(
            DataError,
            match=r"^lost\.png: cannot be read \(No such file or directory\); correct this",
        ),
        training_run(TAGS, "key", {}) as run,
    ):
        run.file(Path("lost.png"), "samples")
    assert not list((tmp_path / "mlruns").rglob("*.png*"))


def test_runs_are_readable_in_a_read_only_folder(client: Any) -> None:
    store.LOCK.unlink(missing_ok=True)
    store.LOCK.mkdir()  # as in a folder in which it cannot be opened
    assert run_of_tensors("mini", "ab") is None
    with pytest.raises(
        StorageError,
        match=r"^mlflow\.db\.lock: cannot be written \(Is a directory\); correct this",
    ):
        store.experiment_of(client, "another")


def test_a_database_that_cannot_be_made_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=rf"^mlflow\.db: cannot be written .*{ROOM}$"), room_for(50_000):
        connect()  # half of the tables
    assert [path.name for path in tmp_path.iterdir()] == [store.LOCK.name]


def test_a_full_disk_ends_the_run_and_a_retry_continues_it(client: Any) -> None:
    message = rf"^mlflow\.db: cannot be written .*{ROOM}$"
    with pytest.raises(StorageError, match=message), training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS[:1])
        with room_for(0):
            run.epochs(EPOCHS[:2])
    assert [run.info.status for run in runs_of(client)] == ["FAILED"]
    with training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS)
    (recorded,) = runs_of(client)
    assert recorded.info.status == "FINISHED" and points(client, recorded) == [(2, 1 / 2), (4, 1 / 4), (6, 1 / 6)]


def test_a_database_on_a_full_disk_does_not_hide_the_error(client: Any) -> None:
    with ExitStack() as disk, pytest.raises(StorageError, match=r"^a\.resume"), training_run(TAGS, "key", {}):
        disk.enter_context(room_for(0))
        raise StorageError("a.resume: cannot be written")
    assert [run.info.status for run in runs_of(client)] == ["RUNNING"]  # the status could not be written
    with training_run(TAGS, "key", {}):
        pass
    assert [run.info.status for run in runs_of(client)] == ["FINISHED"]


def test_a_database_that_fails_during_a_training_gives_one_line(client: Any) -> None:
    message = r"^mlflow\.db: is damaged or no database \(.*\); run `mv mlflow\.db mlflow\.db\.damaged`"
    with pytest.raises(StorageError, match=message), training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS[:1])
        Path("mlflow.db").write_bytes(b"garbage" * 10_000)
        run.epochs(EPOCHS[:2])
