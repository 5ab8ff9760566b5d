"""Outputs that came from elsewhere, as with `dvc pull`, recorded as made: `palimpsest adopt`.

Snakemake compares dates and recorded settings, which neither git nor DVC carries. Its `--touch` records them, with
two traps. It removes the outputs of a job that remain older than an input. And DVC may link files to its cache:
then Snakemake dates a folder by a file in the cache, hard links of equal content share one date, and they are
write-protected.
"""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from palimpsest.errors import PalimpsestError, StorageError
from palimpsest.layout import SNAKEMAKE, Layout
from palimpsest.processes.run_lock import exclude_runs
from palimpsest.storage.atomic import replacing, write_text

MARK = SNAKEMAKE / "adopting"
"""Exists while outputs are adopted; stays when that is killed. Snakemake would then take some for half-written."""
ADOPTING = "PALIMPSEST_ADOPTING"
"""Environment variable of the Snakemake that adopts."""
FOLDER_DATE = ".snakemake_timestamp"
"""File by whose date Snakemake dates the folder around it."""
INPUTS = ("styles", "src/palimpsest/report/page.html.j2")
"""Files of the repository that are inputs of a rule. Python's source files are none: rules have their digest."""

SKEW = 10.0
"""Seconds by which the clock of a file server may be ahead."""


@dataclass(frozen=True)
class Adopted:
    """Result of an adoption."""

    outputs: int
    missing: tuple[str, ...]
    copied: int
    """Links and write-protected files that became files of their own."""


def adopt(layout: Layout, config: Sequence[str] = ()) -> Adopted:
    """Record every existing output of `all` as made now, with the settings of `params.yaml`.

    ``config`` holds settings that win over these, as `KEY=VALUE`, as Snakemake takes them. Nothing is removed.
    Killed at any moment it can be repeated.

    Raises:
        StorageError: there is no output, a run is at work, a file cannot be written, or Snakemake fails.
    """
    if not any(files_below(layout.outputs())):
        raise StorageError(
            f"{layout.results}: no output to adopt, nor below data/ and models/; run `dvc pull` or `dvc checkout`"
        )
    refuse_future(files_below(map(Path, INPUTS)))
    with exclude_runs(SNAKEMAKE):
        write_text(MARK, "")
        copied = own_files(files_below(layout.outputs()))
    record = snakemake("--touch", "--forceall", "--keep-incomplete", "--cores", "1", "all", config=config)
    if record.returncode >= 0:  # it was not killed
        MARK.unlink(missing_ok=True)
    refuse_failure(record)
    summary = snakemake("--summary", "all", config=config)
    refuse_failure(summary)
    outputs = list(rows_of(summary))
    missing = tuple(path for path, date in outputs if date == "-")
    return Adopted(len(outputs) - len(missing), missing, copied)


def check(layout: Layout) -> None:
    """Refuse to start a run that would remove finished outputs for reasons of their dates.

    After an adoption that was killed Snakemake makes anew what it takes for half-written. A file that is dated in
    the future makes each job fail that reads it, once its work is done.

    Raises:
        StorageError: an adoption was killed, or a file is dated in the future.
    """
    if ADOPTING in os.environ:
        return
    if MARK.exists():
        raise StorageError(f"{MARK}: `palimpsest adopt` was interrupted; run it again")
    refuse_future(files_below(map(Path, INPUTS)))
    refuse_future(files_below(layout.outputs()), "run `palimpsest adopt`")


def refuse_future(paths: Iterable[Path], mend: str = "`touch` the file") -> None:
    """Refuse files that are dated in the future, as after the clock was set back.

    Raises:
        StorageError: a file is; names it.
    """
    latest = time.time() + SKEW
    for path in paths:
        with suppress(FileNotFoundError):  # a link to nothing, or a file that another run removes
            dated = max(path.stat().st_mtime, path.lstat().st_mtime)
            if dated > latest:
                when = datetime.fromtimestamp(dated).isoformat(" ", "minutes")
                raise StorageError(f"{path}: is dated in the future ({when}); correct the clock, or {mend}")


def files_below(places: Iterable[Path]) -> Iterator[Path]:
    """The files and links among these places and below them; links to folders are not followed."""
    for place in places:
        if place.is_dir():
            yield from (path for path in sorted(place.rglob("*")) if path.is_symlink() or path.is_file())
        elif place.is_symlink() or place.exists():
            yield place


def own_files(paths: Iterable[Path]) -> int:
    """Replace the links that are in Snakemake's way by files of their own, and return their number.

    Each file is replaced as a whole or not at all. Other symbolic links stay: they take no room.

    Raises:
        StorageError: a file cannot be written, as with no space left.
    """
    count = 0
    for path in paths:
        if is_bound(path):
            with replacing(path) as temporary:
                if path.name == FOLDER_DATE:
                    temporary.touch()  # which is always empty
                else:
                    shutil.copyfile(path, temporary)
            count += 1
    return count


def is_bound(path: Path) -> bool:
    """Return whether Snakemake could not date a file, or not replace it."""
    if path.is_symlink():
        return path.name == FOLDER_DATE or (path.exists() and path.stat().st_mtime > time.time() + SKEW)
    status = path.stat()
    return status.st_nlink > 1 or not status.st_mode & stat.S_IWUSR or not os.access(path, os.W_OK)


def snakemake(*arguments: str, config: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in the working directory and keep what it prints."""
    options = ["--config", *config] if config else []
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, *options],
        env={**os.environ, ADOPTING: "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )


def refuse_failure(done: subprocess.CompletedProcess[str]) -> None:
    """Raise an error for a Snakemake that failed.

    Raises:
        PalimpsestError: an error of the project's own, as of a setting.
        StorageError: Snakemake's own error.
    """
    if not done.returncode:
        return
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    own = next((line for line in lines if line.startswith("error: ")), None)
    if own:
        raise PalimpsestError(own.removeprefix("error: "))
    raise StorageError(f"Snakefile: Snakemake did not record all outputs ({reason_in(lines)}); nothing was removed")


def reason_in(lines: Sequence[str]) -> str:
    """Return the first line that tells an error of Snakemake: after the heading of the error, where it has one."""
    found = [index for index, line in enumerate(lines) if "Error" in line or "Exception" in line]
    if not found:
        return " ".join(lines[-1:])
    line, *below = lines[found[0] :]
    return below[0] if below and line.endswith(":") else line


def rows_of(summary: subprocess.CompletedProcess[str]) -> Iterator[tuple[str, str]]:
    """Path and date of each output in a summary of Snakemake; the date of a missing one is `-`."""
    rows = (line.split("\t") for line in summary.stdout.splitlines())
    yield from ((path, date) for path, date, *rest in (row for row in rows if len(row) > 4) if date != "date")
