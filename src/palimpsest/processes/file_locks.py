"""Locks on files for which a process waits; the kernel releases them when their holder is killed."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from palimpsest.storage.atomic import writing

_held: list[IO[str]] = []
"""Logs whose locks this process holds until it ends."""


def hold_log(log: Path) -> None:
    """Wait until no other process writes this log, and hold its lock: the same job of an ended run ends first."""
    if any(held.name == str(log) for held in _held):
        return  # it is this process
    stream = log.open("a", encoding="utf-8")
    with suppress(OSError):  # a file system without locks
        fcntl.flock(stream, fcntl.LOCK_EX)
    _held.append(stream)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Wait until no other process is in such a block.

    Raises:
        StorageError: the folder of the lock cannot be written to.
    """
    with writing(lock):
        stream = lock.open("a", encoding="utf-8")
    with stream:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
