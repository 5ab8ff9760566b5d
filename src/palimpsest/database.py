"""MLflow's database looked at without MLflow, which takes seconds to import: can this MLflow work with it?"""

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
"""Lines of a migration of MLflow that name its version, and the version before it."""


def address(path: Path) -> str:
    """Return the address of an SQLite database for MLflow: absolute where possible.

    MLflow keeps a database open under its address, so that a relative one means the first folder for ever.
    Characters with a meaning in addresses leave no choice: MLflow quotes them in one place and not in the other.
    """
    whole = str(path.absolute())
    return f"sqlite:///{os.path.relpath(path) if set(whole) & set('?#%') else whole}"


def check(*, to_write: bool = True) -> None:
    """Refuse a database that this MLflow cannot use, and say by which command it can; a missing one is made later.

    Raises:
        StorageError: the database is of another MLflow, is damaged, no database, or write-protected; or the path of
            the folder is one with which MLflow cannot work.
    """
    path = TRACKING_DATABASE
    check_folder()
    if is_missing(path):
        return
    if not path.is_file():
        raise StorageError(f"{path}: is no file; {away(path, 'moved')}")
    if to_write and not os.access(path, os.W_OK):
        raise StorageError(f"{path}: is write-protected; run `chmod u+w {path}`")
    version, (known, latest) = version_of(path), versions()
    if version == latest or not known:
        return
    if version in known:
        command = f"cp {path} {path}.before && mlflow db upgrade {shlex.quote(address(path))}"
        raise StorageError(f"{path}: is of an older MLflow (version {version}); run `{command}`")
    raise StorageError(
        f"{path}: is of a newer MLflow (version {version}); install that MLflow, or {away(path, 'newer')}"
    )


def check_folder() -> None:
    """Refuse a folder in which MLflow would fail, or write elsewhere.

    Raises:
        StorageError: the path is not Unicode, or holds both kinds of quotation marks.
    """
    folder = os.fsencode(Path.cwd())
    try:
        folder.decode("utf-8")
    except UnicodeDecodeError:
        raise StorageError(f"{Path.cwd()}: the path of this folder is not UTF-8; rename the folder") from None
    if b'"' in folder and b"'" in folder:
        raise StorageError(f"{Path.cwd()}: the path of this folder holds both ' and \"; rename the folder")


def is_missing(path: Path) -> bool:
    """Return whether there is no database, or an empty file in its place."""
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def version_of(path: Path) -> str:
    """Return the version of MLflow's tables, as `version_num` of the table `alembic_version`; the latest if locked.

    Raises:
        StorageError: the file cannot be read, is damaged or not a database of MLflow.
    """
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"  # read-only could not roll back what a killed job left
        with closing(sqlite3.connect(uri, uri=True, timeout=1)) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return versions()[1]  # somebody works with it
        if error.sqlite_errorname.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            raise StorageError(f"{path}: is damaged or no database ({error}); {away(path, 'damaged')}") from error
        if "no such table" not in str(error):
            raise StorageError(f"{path}: cannot be read ({error}); see that it can be read and written") from error
        row = None
    if row is None:
        raise StorageError(f"{path}: is no database of MLflow; {away(path, 'moved')}")
    return str(row[0])


def away(path: Path, ending: str) -> str:
    """Return the command that moves a file out of the way; the runs in it stay readable there."""
    return f"run `mv {path} {path}.{ending}`, and the next run makes a new one"


@cache
def versions() -> tuple[frozenset[str], str]:
    """Return all versions of tables that the installed MLflow knows, and the latest; none if it hides them."""
    spec = importlib.util.find_spec("mlflow")
    known: set[str] = set()
    before: set[str] = set()
    for place in (spec and spec.submodule_search_locations) or ():
        for migration in Path(place, "store", "db_migrations", "versions").glob("*.py"):
            for is_before, version in VERSION.findall(migration.read_text(encoding="utf-8")):
                (before if is_before else known).add(version)
    latest = known - before
    return (frozenset(known), latest.pop()) if len(latest) == 1 else (frozenset(), "")
