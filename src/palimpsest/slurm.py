"""SLURM, the scheduler of a cluster: GPUs of its nodes, and jobs that a killed run has left in its queue."""

import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

from palimpsest.errors import StorageError

PREFIX = "palimpsest"
"""Beginning of the names of all jobs, before ``_``; set in `profiles/slurm/profile.yaml`."""
GPUS = re.compile(r"(?<!\w)gpu(?::[^:,()\s]+)?:(\d+)")
"""GPUs in SLURM's notation, with or without their model: ``gpu:2``, ``gpu:a100:4(S:0-1)``."""
ENDING = "COMPLETING"
"""State of a job whose processes get signals to end."""
SECONDS = 60.0
"""Timeout of a command; the answer of a busy scheduler takes several seconds."""
WAIT = 60.0
"""Seconds for cancelled jobs to end; SLURM kills them after thirty."""


@cache
def gpus() -> int:
    """Return the number of GPUs of the node that has the most; 0 without GPUs, and without SLURM."""
    return max((int(number) for number in GPUS.findall(output("sinfo", "--noheader", "--format=%G"))), default=0)


def check_queue(folder: Path) -> None:
    """Refuse a run while SLURM has jobs of an earlier run in this folder, which would make the same files.

    A run that is killed leaves its jobs in the queue. A new run would submit them again, and each of two equal jobs
    deletes the outputs of the other when it starts. Cancelled jobs take some seconds to end: this function waits.

    Raises:
        StorageError: there are such jobs; the message contains the command that cancels them.
    """
    latest = time.monotonic() + WAIT
    while states := states_of_jobs(folder):
        earlier = " ".join(number for number, state in states.items() if state != ENDING)
        if earlier:
            raise StorageError(
                f"squeue: jobs of an earlier run in this folder have not ended ({earlier}); wait for them, or run "
                f"`scancel {earlier}`; then run the same command again"
            )
        if time.monotonic() > latest:  # as on a node that does not answer
            break
        time.sleep(1)


def states_of_jobs(folder: Path) -> dict[str, str]:
    """Return the states of the jobs of runs in this folder by their numbers."""
    lines = output("squeue", "--me", "--noheader", "--format=%i|%T|%j|%Z").splitlines()
    jobs = [line.split("|", maxsplit=3) for line in lines]
    return {
        number: state
        for number, state, name, workdir in jobs
        if name.startswith(f"{PREFIX}_") and Path(workdir) == folder
    }


def output(*command: str) -> str:
    """Return the output of a command of SLURM; empty without SLURM, and if the command fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return "" if done.returncode else done.stdout
