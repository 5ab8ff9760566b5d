"""Adoption of existing outputs, as after `dvc pull`: Snakemake records them as finished (`palimpsest adopt`).

Snakemake decides by dates and recorded settings, which neither git nor DVC stores. Its option `--touch` records
them, with two traps. Snakemake removes the outputs of a job if they remain older than an input. DVC may link files
to its cache: then Snakemake reads the date of a folder from a file in the cache, hard links of equal content share
one date, and the files are write-protected.
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
"""File that exists during an adoption and after a killed one. Snakemake then regards outputs as incomplete."""
ADOPTING = "PALIMPSEST_ADOPTING"
"""Environment variable of the Snakemake process that records the outputs."""
FOLDER_DATE = ".snakemake_timestamp"
"""Name of the file in an output folder whose date Snakemake takes as the date of the folder."""
INPUTS = ("styles", "src/palimpsest/report/templates")
"""Files of the repository that are inputs of rules. Python sources enter a rule as a digest instead."""

SKEW = 10.0
"""Seconds by which the clock of a file server may be ahead."""


@dataclass(frozen=True)
class Adopted:
    """Result of an adoption."""

    outputs: int
    """Number of outputs that are recorded as finished."""
    missing: tuple[str, ...]
    """Paths of the outputs that do not exist."""
    copied: int
    """Number of links and write-protected files that were replaced by copies."""


def adopt(layout: Layout, config: Sequence[str] = ()) -> Adopted:
    """Record every existing output of `all` as made now, with the settings of `params.yaml`.

    ``config`` lists overrides of the settings as `KEY=VALUE`, in Snakemake's notation. Links and write-protected
    outputs are replaced by copies. No file is removed. After a kill, the call can be repeated.

    Raises:
        StorageError: there is no output, a run is alive, a file cannot be written, or Snakemake fails.
    """
    if not any(files_and_links(layout.outputs())):
        raise StorageError(
            f"{layout.results}: no outputs to adopt here, in data/ or in models/; run `dvc pull` or `dvc checkout`"
        )
    refuse_future(files_and_links(map(Path, INPUTS)))
    with exclude_runs(SNAKEMAKE):
        write_text(MARK, "")
        copied = replace_by_copies(files_and_links(layout.outputs()))
    record = snakemake("--touch", "--forceall", "--keep-incomplete", "--cores", "1", "all", config=config)
    if record.returncode >= 0:  # it was not killed
        MARK.unlink(missing_ok=True)
    refuse_failure(record)
    summary = snakemake("--summary", "all", config=config)
    refuse_failure(summary)
    outputs = list(dated_outputs(summary))
    missing = tuple(path for path, date in outputs if date == "-")
    return Adopted(len(outputs) - len(missing), missing, copied)


def check_dates(layout: Layout) -> None:
    """Refuse a run that would remove finished outputs because of their dates.

    After a killed adoption Snakemake regards outputs as incomplete and makes them again. An input dated in the
    future makes every job fail at its end.

    Raises:
        StorageError: an adoption was killed, or a file is dated in the future.
    """
    if ADOPTING in os.environ:
        return
    if MARK.exists():
        raise StorageError(f"{MARK}: `palimpsest adopt` was interrupted; run it again")
    refuse_future(files_and_links(map(Path, INPUTS)))
    refuse_future(files_and_links(layout.outputs()), "run `palimpsest adopt`")


def refuse_future(paths: Iterable[Path], advice: str = "`touch` the file") -> None:
    """Refuse files that are dated in the future, as after the clock was set back; skip missing files.

    ``advice`` is the correction that the message proposes for the file.

    Raises:
        StorageError: a file is dated in the future; the message names it.
    """
    latest = time.time() + SKEW
    for path in paths:
        with suppress(FileNotFoundError):  # a broken link, or a file that another run removes
            dated = max(path.stat().st_mtime, path.lstat().st_mtime)
            if dated > latest:
                when = datetime.fromtimestamp(dated).isoformat(" ", "minutes")
                raise StorageError(f"{path}: is dated in the future ({when}); correct the clock, or {advice}")


def files_and_links(roots: Iterable[Path]) -> Iterator[Path]:
    """Yield each path that is a file or link, and the files and links below each path that is a folder.

    Links to folders are yielded but not followed. Missing paths are skipped.
    """
    for root in roots:
        if root.is_dir():
            yield from (path for path in sorted(root.rglob("*")) if path.is_symlink() or path.is_file())
        elif root.is_symlink() or root.exists():
            yield root


def replace_by_copies(paths: Iterable[Path]) -> int:
    """Replace links and write-protected files by copies that Snakemake can date; return their number.

    Each file is replaced atomically. Other symbolic links stay, since copies would take space.

    Raises:
        StorageError: a file cannot be written, as with no space left.
    """
    count = 0
    for path in paths:
        if needs_copy(path):
            with replacing(path) as temporary:
                if path.name == FOLDER_DATE:
                    temporary.touch()  # such a file is always empty
                else:
                    shutil.copyfile(path, temporary)
            count += 1
    return count


def needs_copy(path: Path) -> bool:
    """Return True if Snakemake cannot set the date of a file or replace the file.

    This holds for write-protected files and hard links; for symbolic links, only if the link is the date of a
    folder (`FOLDER_DATE`) or its target is dated in the future.
    """
    if path.is_symlink():
        return path.name == FOLDER_DATE or (path.exists() and path.stat().st_mtime > time.time() + SKEW)
    status = path.stat()
    return status.st_nlink > 1 or not status.st_mode & stat.S_IWUSR or not os.access(path, os.W_OK)


def snakemake(*arguments: str, config: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in the working directory; return its exit status and output, whatever the outcome.

    ``config`` lists overrides of the settings as `KEY=VALUE`.
    """
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


def refuse_failure(process: subprocess.CompletedProcess[str]) -> None:
    """Raise an error if Snakemake failed.

    Raises:
        PalimpsestError: the output contains an error of palimpsest, such as an invalid setting.
        StorageError: Snakemake failed for another reason.
    """
    if not process.returncode:
        return
    lines = [line.strip() for line in (process.stdout + process.stderr).splitlines() if line.strip()]
    message = next((line for line in lines if line.startswith("error: ")), None)
    if message:
        raise PalimpsestError(message.removeprefix("error: "))
    raise StorageError(
        f"Snakefile: Snakemake did not record all outputs ({snakemake_reason(lines)}); nothing was removed; "
        "correct this and run `palimpsest adopt` again"
    )


def snakemake_reason(lines: Sequence[str]) -> str:
    """Return the reason of a failure from the lines of Snakemake's output.

    This is the first line with an error or exception; the line after it if that line is a heading; the last line of
    an output without errors.
    """
    indices = [index for index, line in enumerate(lines) if "Error" in line or "Exception" in line]
    if not indices:
        return " ".join(lines[-1:])
    line, *details = lines[indices[0] :]
    return details[0] if details and line.endswith(":") else line


def dated_outputs(summary: subprocess.CompletedProcess[str]) -> Iterator[tuple[str, str]]:
    """Yield path and date of each output from `snakemake --summary`; the date of a missing output is `-`."""
    rows = (line.split("\t") for line in summary.stdout.splitlines())
    yield from ((path, date) for path, date, *_ in (row for row in rows if len(row) > 4) if date != "date")
