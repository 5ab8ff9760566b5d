"""Databases that MLflow cannot use are reported before any training with the command that repairs them."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from palimpsest.errors import StorageError
from palimpsest.layout import TRACKING_DATABASE as DATABASE
from palimpsest.tracking import database

KNOWN, LATEST = database.versions()
OLDER = min(KNOWN - {LATEST})


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def of_version(version: str | None) -> None:
    """Write a database with the table of its version."""
    with closing(sqlite3.connect(DATABASE)) as made, made:
        made.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        made.executemany("INSERT INTO alembic_version VALUES (?)", [(version,)] if version else [])


def of_something_else() -> None:
    with closing(sqlite3.connect(DATABASE)) as made, made:
        made.execute("CREATE TABLE holidays (name)")


def cut_short() -> None:
    """Write the first of several pages of a database."""
    with closing(sqlite3.connect(DATABASE)) as made, made:
        made.execute("CREATE TABLE numbers (number)")
        made.executemany("INSERT INTO numbers VALUES (?)", ((n,) for n in range(5000)))
        made.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    os.truncate(DATABASE, 4096)


MOVED = "`, and the next run makes a new one"

BROKEN: dict[str, tuple[Callable[[], object], str]] = {
    "older": (
        lambda: of_version(OLDER),
        f"mlflow.db: is of an older MLflow (version {OLDER}); run"
        " `cp mlflow.db mlflow.db.before && mlflow db upgrade sqlite:///{folder}/mlflow.db`",
    ),
    "newer": (
        lambda: of_version("fedcba987654"),
        "mlflow.db: is of a newer MLflow (version fedcba987654); install that MLflow, or"
        f" run `mv mlflow.db mlflow.db.newer{MOVED}",
    ),
    "garbage": (
        lambda: DATABASE.write_bytes(b"garbage" * 1000),
        "mlflow.db: is damaged or no database (file is not a database);"
        f" run `mv mlflow.db mlflow.db.damaged{MOVED}",
    ),
    "cut short": (
        cut_short,
        "mlflow.db: is damaged or no database (database disk image is malformed);"
        f" run `mv mlflow.db mlflow.db.damaged{MOVED}",
    ),
    "half made": (
        lambda: of_version(None),
        f"mlflow.db: is not a database of MLflow; run `mv mlflow.db mlflow.db.moved{MOVED}",
    ),
    "of something else": (
        of_something_else,
        f"mlflow.db: is not a database of MLflow; run `mv mlflow.db mlflow.db.moved{MOVED}",
    ),
    "a folder": (
        DATABASE.mkdir,
        f"mlflow.db: is not a file; run `mv mlflow.db mlflow.db.moved{MOVED}",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_unusable_database_is_refused_with_the_command_that_repairs_it(kind: str, tmp_path: Path) -> None:
    make, message = BROKEN[kind]
    make()
    with pytest.raises(StorageError) as refused:
        database.check_database()
    assert str(refused.value) == message.replace("{folder}", str(tmp_path))


@pytest.mark.parametrize("make", [lambda: None, DATABASE.touch, lambda: of_version(LATEST)])
def test_a_missing_an_empty_and_a_current_database_are_accepted(make: Callable[[], object]) -> None:
    make()
    database.check_database()


def test_a_write_protected_database_is_refused_for_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    of_version(LATEST)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write to all files
    with pytest.raises(StorageError, match=r"^mlflow\.db: is write-protected; run `chmod u\+w mlflow\.db`$"):
        database.check_database()
    database.check_database(to_write=False)


def test_a_database_in_use_is_left_alone() -> None:
    of_version(OLDER)
    with closing(sqlite3.connect(DATABASE, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        database.check_database()
        assert time.monotonic() - begun < 5


def test_a_folder_that_mlflow_cannot_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, message in (("a'b\"c", "contains both ' and \""), ("caf\udce9", "is not UTF-8")):
        folder = tmp_path / name
        try:
            folder.mkdir()
        except OSError:  # some file systems refuse this name
            continue
        monkeypatch.chdir(folder)
        with pytest.raises(StorageError, match=rf"{message}; rename the folder$"):
            database.check_database()


def test_an_address_is_absolute_unless_the_path_has_special_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.address(DATABASE) == f"sqlite:///{tmp_path}/mlflow.db"
    for name in ("what?", "#1", "100%"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert database.address(DATABASE) == "sqlite:///mlflow.db"


WORK = """
from pathlib import Path
from palimpsest.tracking import runs
from palimpsest.tracking.store import connect
tags = runs.training_tags("mini", 0, "piggyback", "voc-seg")
Path("picture.png").write_bytes(b"png")
with runs.training_run(tags, "key", {"seed": 0}) as run:
    run.epochs([{"step": 2.0, "loss": 0.5}])
    run.tags({"sha256": "ab"})
    run.file(Path("picture.png"), "samples")
client = connect()
assert runs.run_of_tensors("mini", "ab") == run.run_id
assert [file.path for file in client.list_artifacts(run.run_id, "samples")] == ["samples/picture.png"]
"""


@pytest.mark.slow
def test_no_file_is_written_outside_a_folder_of_any_name(tmp_path: Path) -> None:
    name = 'what? #1 100% 100%20 é & "x"; {y}'
    folder = tmp_path / "around" / name
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", WORK], cwd=folder, check=True, capture_output=True, text=True)
    assert [path.name for path in folder.parent.iterdir()] == [name]
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlruns", "picture.png"}
    assert (folder / "mlflow.db").stat().st_size > 0


@pytest.mark.slow
def test_the_command_in_the_message_upgrades_a_database_of_an_older_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my study"  # unquoted, a shell reads two arguments
    folder.mkdir()
    monkeypatch.chdir(folder)
    made = f"""
import sqlalchemy
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
url = "sqlite:///mlflow.db"
Base.metadata.create_all(sqlalchemy.create_engine(url))
command.upgrade(_get_alembic_config(url), "{older()}")
"""
    subprocess.run([sys.executable, "-c", made], check=True, capture_output=True)
    with pytest.raises(StorageError, match="is of an older MLflow") as refused:
        database.check_database()
    command = str(refused.value).split("`")[1]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(command, shell=True, check=True, capture_output=True, env={**os.environ, "PATH": path})
    database.check_database()
    assert Path("mlflow.db.before").exists()


def older() -> str:
    """Return the version before the latest."""
    import mlflow.store.db_migrations.versions as migrations  # noqa: PLC0415

    (folder,) = migrations.__path__
    (latest,) = Path(folder).glob(f"{LATEST}*.py")
    revisions = dict(database.VERSION.findall(latest.read_text()))
    return str(revisions["down_"])


def test_known_versions_are_those_of_the_installed_mlflow() -> None:
    assert LATEST in KNOWN and len(KNOWN) > 50
    assert shutil.which("mlflow", path=str(Path(sys.executable).parent))
