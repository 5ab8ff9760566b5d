"""Waiting locks on files; the kernel releases the locks of a killed process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from palimpsest.storage.atomic import writing

_held: list[IO[str]] = []
"""Open log files whose locks this process holds until it ends."""


def hold_log(log: Path) -> None:
    """Lock a job's log until this process ends; wait while the same job of an earlier run holds the lock."""
    if any(held.name == str(log) for held in _held):
        return  # already locked by this process
    stream = log.open("a", encoding="utf-8")
    with suppress(OSError):  # a file system without locks
        fcntl.flock(stream, fcntl.LOCK_EX)
    _held.append(stream)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Run a block under the exclusive lock of the file ``lock``; wait while another process holds the lock.

    The file is created if it is missing and stays. Without locks in the file system, the block runs at once.

    Raises:
        StorageError: the file cannot be written to.
    """
    with writing(lock):
        stream = lock.open("a", encoding="utf-8")
    with stream:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
