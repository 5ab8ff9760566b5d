"""Lock of a run of Snakemake in the folder of a study.

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


def hold_run_lock(folder: Path) -> None:
    """Hold a lock for this run; remove Snakemake's stale locks in ``folder`` (`.snakemake`) if no run is active.

    The lock is shared, because two runs that make different files, as of two presets, can be active together.
    Snakemake's locks protect the files.

    Raises:
        StorageError: there is no space for the files that Snakemake writes there.
    """
    lock = open_lock(folder)
    check_space(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # another run is active and needs its locks
    except OSError:
        return  # a file system without locks: Snakemake's message explains how to unlock by hand
    else:
        shutil.rmtree(folder / "locks", ignore_errors=True)
    fcntl.flock(lock, fcntl.LOCK_SH)
    _held.append(lock)


@contextmanager
def exclude_runs(folder: Path) -> Iterator[None]:
    """Block new runs in the study of ``folder`` (`.snakemake`); they wait for the end of the block.

    Raises:
        StorageError: a run is active, or the folder cannot be written to.
    """
    with open_lock(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{folder}: a run of Snakemake is active here; wait until it ends") from None
        except OSError:
            pass  # a file system without locks
        yield


def open_lock(folder: Path) -> IO[str]:
    """Open the lock file of runs.

    Raises:
        StorageError: the folder cannot be written to.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
        return (folder / "alive").open("a", encoding="utf-8")
