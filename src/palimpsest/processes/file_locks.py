"""Waiting locks on files; the kernel releases the locks of a killed process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from palimpsest.storage.atomic import writing

_held: list[IO[str]] = []
"""Open logs whose locks this process holds until it ends."""


def hold_log(log: Path) -> None:
    """Wait until the same job of an earlier run has ended, and hold the lock of their common log."""
    if any(held.name == str(log) for held in _held):
        return  # already locked by this process
    stream = log.open("a", encoding="utf-8")
    with suppress(OSError):  # a file system without locks
        fcntl.flock(stream, fcntl.LOCK_EX)
    _held.append(stream)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Run the block under an exclusive lock; wait while another process holds it.

    Raises:
        StorageError: the folder of the lock cannot be written to.
    """
    with writing(lock):
        stream = lock.open("a", encoding="utf-8")
    with stream:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
