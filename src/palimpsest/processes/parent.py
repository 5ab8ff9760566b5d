"""Jobs that end with the process that started them.

Jobs are children of Snakemake and survive when it is killed. Each job therefore checks its parent and ends with it.
"""

import os
import signal
import socket
import threading
import time

import psutil

from palimpsest.processes.ranks import is_rank_zero

PARENT = "PALIMPSEST_PARENT"
"""Environment variable that names the parent of a job by host, process number and start time."""

SECONDS = 1.0
"""Seconds between two checks of the parent."""


def mark_parent() -> None:
    """Set the environment variable `PARENT`, so that jobs started from now on take this process as their parent."""
    os.environ[PARENT] = f"{socket.gethostname()} {os.getpid()} {start_time(os.getpid())}"


def end_with_parent() -> None:
    """Start a thread that ends this process when its parent (`PARENT`) has ended.

    Jobs on another host, as in a cluster, and jobs started by hand have no parent and get no thread. In a training
    with several processes, the first process is the parent of the others.
    """
    host, pid, started = (os.environ.get(PARENT) or "none 0 0").split()
    if host == socket.gethostname():
        threading.Thread(target=watch, args=(int(pid), float(started)), daemon=True).start()


def watch(pid: int, started: float) -> None:
    """Wait until the process ``pid`` with this start time has ended, then end this process.

    The first process of a training gets SIGTERM, so that it can close its files. The others have nothing to close
    and get SIGKILL, because they wait for each other. The signal is repeated, because an exception that a handler
    raises during garbage collection is lost.
    """
    while start_time(pid) == started:
        time.sleep(SECONDS)
    while True:
        os.kill(os.getpid(), signal.SIGTERM if is_rank_zero() else signal.SIGKILL)
        time.sleep(SECONDS)


def start_time(pid: int) -> float:
    """Return the start time of a process in seconds, or 0 if it has ended; process numbers are reused."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return 0.0
