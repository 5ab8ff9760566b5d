"""Who is alive: what a killed Snakemake left behind is taken over, and its jobs end when it does.

Snakemake's own locks are files, which `kill -9` and a power cut leave lying; its jobs are children that outlive
it. Locks of the kernel and a watch over the parent know better.
"""

import fcntl
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from palimpsest.errors import StorageError
from palimpsest.storage.atomic import writing

PARENT = "PALIMPSEST_PARENT"
"""Environment variable that says which process a job belongs to: host, process, when it was started."""

SECONDS = 1.0
"""Between two looks at the parent."""

ROOM = 2**20
"""Bytes without which no run is started: Snakemake ends in a traceback where its locks and records do not fit."""

_held: list[IO[str]] = []
"""Files whose locks this process holds until it ends."""


def take_over(folder: Path) -> None:
    """Remove the locks that Snakemake left in ``folder`` (`.snakemake`), unless a run is alive there.

    Every run holds a shared lock of the kernel, which ends with it, however it ends. Two runs that make
    different files, as of two presets, may be alive at once, and Snakemake's own locks keep them apart.

    Raises:
        StorageError: there is no room for what Snakemake writes there.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
        alive = (folder / "alive").open("a", encoding="utf-8")
    look_for_room(folder)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # another run is alive: its locks are its own
    except OSError:
        return  # a file system without locks: Snakemake says how to unlock by hand
    else:
        shutil.rmtree(folder / "locks", ignore_errors=True)
    fcntl.flock(alive, fcntl.LOCK_SH)
    _held.append(alive)


@contextmanager
def without_a_run(folder: Path) -> Iterator[None]:
    """Keep runs from starting in the study of ``folder`` (`.snakemake`) while the block is at work.

    A run that starts in the meantime waits for the end of the block.

    Raises:
        StorageError: a run is at work, or the folder cannot be written to.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
        alive = (folder / "alive").open("a", encoding="utf-8")
    with alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{folder}: a run of Snakemake is at work here; wait until it ends") from None
        except OSError:
            pass  # a file system without locks
        yield


def look_for_room(folder: Path) -> None:
    """Write `ROOM` bytes and delete them again: what a file system says of itself does not count quotas.

    Raises:
        StorageError: there is no room.
    """
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))
        file.flush()
        os.fsync(file.fileno())


def first() -> bool:
    """Whether this process is alone, or the first of those that train together, each on a device of its own.

    The first starts the others, by its own command with their number in LOCAL_RANK, and alone writes files.
    """
    return os.environ.get("LOCAL_RANK", "0") == "0"


def mark_parent() -> None:
    """Let the processes that this one starts know whom they belong to."""
    os.environ[PARENT] = f"{socket.gethostname()} {os.getpid()} {started(os.getpid())}"


def end_with_parent() -> None:
    """Interrupt this process, as SIGTERM does, when the one that it belongs to is gone.

    A job on another host, as of a cluster, and one that was started by hand belong to nobody. Those that train
    together with a first process belong to it: they have nothing to close, and while they wait for the others
    only SIGKILL ends them.
    """
    host, pid, when = (os.environ.get(PARENT) or "none 0 0").split()
    if host == socket.gethostname():
        threading.Thread(target=watch, args=(int(pid), float(when)), daemon=True).start()


def watch(pid: int, when: float) -> None:
    """Wait until a process is gone, then end this one: again and again, for Python loses what is raised in a
    signal's handler while it collects garbage.
    """
    while started(pid) == when:
        time.sleep(SECONDS)
    while True:
        os.kill(os.getpid(), signal.SIGTERM if first() else signal.SIGKILL)
        time.sleep(SECONDS)


def started(pid: int) -> float:
    """When a process was started, in seconds; 0 where there is none. Numbers of processes are used again."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return 0.0


def alone(log: Path) -> None:
    """Wait until no other process does the job that writes this log: what an ended run left has to end first."""
    if any(held.name == str(log) for held in _held):
        return  # it is this process
    stream = log.open("a", encoding="utf-8")
    with suppress(OSError):  # a file system without locks
        fcntl.flock(stream, fcntl.LOCK_EX)
    _held.append(stream)


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Wait until no other process is in such a block; the kernel opens it again when this process is killed.

    Raises:
        StorageError: the folder of the lock cannot be written to.
    """
    with writing(lock):
        stream = lock.open("a", encoding="utf-8")
    with stream:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
