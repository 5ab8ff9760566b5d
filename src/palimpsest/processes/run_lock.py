"""Lock of a run of Snakemake in the folder of its Snakefile.

Snakemake's locks are files, which remain after `kill -9` or a power cut. A kernel lock on another file ends with
its run and thus shows whether they are stale.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from palimpsest.errors import StorageError
from palimpsest.storage.atomic import writing
from palimpsest.storage.disk_space import check_space

_held: list[IO[str]] = []
"""Files whose locks this process holds until it ends."""


def hold_run_lock(folder: Path) -> bool:
    """Hold a lock for this run until the process ends; if no other run is active, remove Snakemake's stale locks.

    ``folder`` is Snakemake's folder of records, `.snakemake`, and contains the locks.

    The lock is shared, because two runs that make different files, as of two presets, can be active together.
    Snakemake's locks protect the files.

    Returns:
        True if no other run is active here, or if the file system has no locks to know it.

    Raises:
        StorageError: the folder cannot be written to, or has no space for the files that Snakemake writes.
    """
    lock = open_lock(folder)
    check_space(folder)
    is_only = True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        is_only = False  # another run is active and needs its locks
    except OSError:
        return True  # a file system without locks: Snakemake's message explains how to unlock by hand
    else:
        shutil.rmtree(folder / "locks", ignore_errors=True)
    fcntl.flock(lock, fcntl.LOCK_SH)
    _held.append(lock)
    return is_only


@contextmanager
def exclude_runs(folder: Path) -> Iterator[None]:
    """Run a block while no run of the study is active; a run that starts meanwhile waits for the end of the block.

    ``folder`` is the study's `.snakemake`.

    Raises:
        StorageError: a run is active, or the folder cannot be written to.
    """
    with open_lock(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"{folder}: a run of Snakemake is active here; wait until it ends and run the same command again"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


def open_lock(folder: Path) -> IO[str]:
    """Open the file in ``folder`` whose lock runs hold; create both if they are missing.

    Raises:
        StorageError: the folder cannot be written to.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
        return (folder / "alive").open("a", encoding="utf-8")
