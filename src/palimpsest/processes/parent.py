"""Jobs that end with the process that started them.

Jobs are children of Snakemake and outlive it when it is killed. Each watches its parent and ends after it.
"""

import os
import signal
import socket
import threading
import time

import psutil

from palimpsest.processes.ranks import is_rank_zero

PARENT = "PALIMPSEST_PARENT"
"""Environment variable with the parent of a job: host, number of the process, time of its start."""

SECONDS = 1.0
"""Time between two checks of the parent."""


def mark_parent() -> None:
    """Make this process the parent of those that it starts."""
    os.environ[PARENT] = f"{socket.gethostname()} {os.getpid()} {start_time(os.getpid())}"


def end_with_parent() -> None:
    """Interrupt this process, as SIGTERM does, when its parent is gone.

    A job on another host, as of a cluster, and one that was started by hand have no parent. The processes of one
    training have the first as their parent: they have nothing to close, and while they wait for the others only
    SIGKILL ends them.
    """
    host, pid, when = (os.environ.get(PARENT) or "none 0 0").split()
    if host == socket.gethostname():
        threading.Thread(target=watch, args=(int(pid), float(when)), daemon=True).start()


def watch(pid: int, when: float) -> None:
    """Wait until a process is gone, then end this one.

    The signal is sent again and again: an exception that a handler raises during garbage collection is lost.
    """
    while start_time(pid) == when:
        time.sleep(SECONDS)
    while True:
        os.kill(os.getpid(), signal.SIGTERM if is_rank_zero() else signal.SIGKILL)
        time.sleep(SECONDS)


def start_time(pid: int) -> float:
    """Return when a process was started, in seconds; 0 where there is none. Numbers of processes are used again."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return 0.0
