"""Lock of a run of Snakemake in the folder of a study.

Snakemake's own locks are files, which remain after `kill -9` and a power cut. A kernel lock on one more file ends
with its run and thus shows whether they are stale.
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
    """Hold a lock for this run; remove Snakemake's stale locks in ``folder`` (`.snakemake`) if no run is alive.

    The lock is shared: two runs that make different files, as of two presets, may be alive at once. Snakemake's
    own locks protect their files.

    Raises:
        StorageError: there is no space for the files that Snakemake writes there.
    """
    alive = open_lock(folder)
    check_space(folder)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # another run is alive and needs its locks
    except OSError:
        return  # a file system without locks: Snakemake's message explains how to unlock by hand
    else:
        shutil.rmtree(folder / "locks", ignore_errors=True)
    fcntl.flock(alive, fcntl.LOCK_SH)
    _held.append(alive)


@contextmanager
def exclude_runs(folder: Path) -> Iterator[None]:
    """Keep runs from starting in the study of ``folder`` (`.snakemake`) during the block; they wait for its end.

    Raises:
        StorageError: a run is alive, or the folder cannot be written to.
    """
    with open_lock(folder) as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{folder}: a run of Snakemake is active here; wait until it ends") from None
        except OSError:
            pass  # a file system without locks
        yield


def open_lock(folder: Path) -> IO[str]:
    """Open the file that runs lock.

    Raises:
        StorageError: the folder cannot be written to.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
        return (folder / "alive").open("a", encoding="utf-8")
