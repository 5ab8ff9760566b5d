"""Checks of MLflow's database without an import of MLflow, which takes seconds."""

import importlib.util
import os
import re
import shlex
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

from palimpsest.errors import StorageError
from palimpsest.layout import TRACKING_DATABASE

VERSION = re.compile(r'^(down_)?revision\s*=\s*"(\w+)"', re.MULTILINE)
"""Lines of an MLflow migration that name its version and the version before it."""


def address(path: Path) -> str:
    """Return the address of an SQLite database for MLflow: absolute where possible.

    MLflow caches open databases by address, so a relative address would still mean the first folder after a change
    of the working directory. A path with ``?``, ``#`` or ``%`` has to be relative, because MLflow quotes these
    characters inconsistently.
    """
    absolute = str(path.absolute())
    return f"sqlite:///{os.path.relpath(path) if set(absolute) & set('?#%') else absolute}"


def check_database(*, to_write: bool = True) -> None:
    """Refuse a database that the installed MLflow cannot use; accept a missing one, which is made later.

    ``to_write`` also refuses a write-protected database.

    Raises:
        StorageError: the database belongs to another version of MLflow, is damaged or write-protected, or MLflow
            cannot handle the path of the folder. The message contains the command that repairs it.
    """
    path = TRACKING_DATABASE
    check_folder()
    if is_missing(path):
        return
    if not path.is_file():
        raise StorageError(f"{path}: is not a file; {rename_advice(path, 'moved')}")
    if to_write and not os.access(path, os.W_OK):
        raise StorageError(f"{path}: is write-protected; run `chmod u+w {path}`")
    version, (supported, latest) = version_of(path), versions()
    if version == latest or not supported:
        return
    if version in supported:
        command = f"cp {path} {path}.before && mlflow db upgrade {shlex.quote(address(path))}"
        raise StorageError(f"{path}: is of an older MLflow (version {version}); run `{command}`")
    raise StorageError(
        f"{path}: is of a newer MLflow (version {version}); install that MLflow, or {rename_advice(path, 'newer')}"
    )


def check_folder() -> None:
    """Refuse a folder in which MLflow would fail or write elsewhere.

    Raises:
        StorageError: the path is not UTF-8, or contains both kinds of quotation marks.
    """
    folder = os.fsencode(Path.cwd())
    try:
        folder.decode("utf-8")
    except UnicodeDecodeError:
        raise StorageError(f"{Path.cwd()}: the path of this folder is not UTF-8; rename the folder") from None
    if b'"' in folder and b"'" in folder:
        raise StorageError(f"{Path.cwd()}: the path of this folder contains both ' and \"; rename the folder")


def is_missing(path: Path) -> bool:
    """Return True if the database does not exist or is an empty file."""
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def version_of(path: Path) -> str:
    """Return the version of the tables in a database (`alembic_version.version_num`).

    For a database in which another process writes, return the latest version, since its own cannot be read.

    Raises:
        StorageError: the file cannot be read, is damaged or is not a database of MLflow.
    """
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"  # read-only, SQLite could not roll back a killed job
        with closing(sqlite3.connect(uri, uri=True, timeout=1)) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return versions()[1]  # another process is writing
        if error.sqlite_errorname.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            raise StorageError(
                f"{path}: is damaged or no database ({error}); {rename_advice(path, 'damaged')}"
            ) from error
        if "no such table" not in str(error):
            raise StorageError(f"{path}: cannot be read ({error}); make it readable and writable") from error
        row = None
    if row is None:
        raise StorageError(f"{path}: is not a database of MLflow; {rename_advice(path, 'moved')}")
    return str(row[0])


def rename_advice(path: Path, ending: str) -> str:
    """Return the advice to rename a database to ``<path>.<ending>``, so that its runs stay readable."""
    return f"run `mv {path} {path}.{ending}`, and the next run makes a new one"


@cache
def versions() -> tuple[frozenset[str], str]:
    """Return all versions of the tables that the installed MLflow knows, and the latest of them.

    Both are empty if MLflow is not installed or its migrations cannot be read.
    """
    spec = importlib.util.find_spec("mlflow")
    supported: set[str] = set()
    superseded: set[str] = set()
    for folder in (spec and spec.submodule_search_locations) or ():
        for migration in Path(folder, "store", "db_migrations", "versions").glob("*.py"):
            for is_superseded, version in VERSION.findall(migration.read_text(encoding="utf-8")):
                (superseded if is_superseded else supported).add(version)
    latest = supported - superseded
    return (frozenset(supported), latest.pop()) if len(latest) == 1 else (frozenset(), "")
