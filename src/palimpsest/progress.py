"""Progress of a run: how much of its work is done, and how long the rest still takes.

The work of a job is counted in pictures: those of its training steps, or of its measurements, and a constant for
the start of its process. Running trainings count by the last step in their logs, so that an estimate exists before
the first training ends.
"""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START = 500.0
"""Work of a job without its pictures: the time in which a process starts is that of about 500 training pictures."""
STEP = re.compile(rb"step (\d+)/(\d+)  ")
"""Beginning of a log line of a training."""
INTERVAL = 20.0
"""Seconds between two lines."""
TAIL = 4096
"""Number of bytes at the end of a log that are searched for the last step."""


@dataclass(frozen=True)
class Work:
    """Work of one job."""

    name: str
    """Name of the job in the line."""
    pictures: float
    """Work in pictures, with `START`."""
    log: Path | None = None
    """Log of a training; None for other jobs."""

    def done(self, since: float) -> float:
        """Return the fraction of a running job that is done, by its log if that was written after ``since``."""
        if self.log is None:
            return 0.0
        try:
            if self.log.stat().st_mtime < since:
                return 0.0
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL))
                steps = STEP.findall(file.read())
        except OSError:
            return 0.0
        return int(steps[-1][0]) / int(steps[-1][1]) if steps else 0.0


def work_of(rule: str, settings: str, log: Path | None) -> Work:
    """Return the work of a job from the name of its rule and the JSON of its settings (`palimpsest.jobs`)."""
    job: dict[str, Any] = json.loads(settings) if rule.startswith(("train", "evaluate")) else {}
    if rule.startswith("train"):
        pictures = sum(task["steps"] * task["batch_size"] for task in job["tasks"])
        names = "+".join(task["name"] for task in job["tasks"])
        return Work(f"{job['method']} {names}", START + pictures, log)
    if rule.startswith("evaluate"):
        cells = len(job["sequence"]) * (len(job["sequence"]) + 1) / 2
        return Work(f"measure {job['method']}", START * (1 + cells / 10))
    return Work(rule, START)


class Progress:
    """Progress of the jobs of one run."""

    def __init__(self, jobs: Sequence[Work], finished: Callable[[], Sequence[bool]], started: float) -> None:
        """Set the work of all jobs and a function that returns, for each, whether it has finished."""
        self._jobs = jobs
        self._finished = finished
        self._started = started

    def line(self, now: float) -> str:
        """Return the line at a time: share done, minutes so far and minutes left, and the running trainings."""
        finished = self._finished()
        shares = [
            1.0 if ended else job.done(self._started) for job, ended in zip(self._jobs, finished, strict=True)
        ]
        total = sum(job.pictures for job in self._jobs)
        done = sum(share * job.pictures for share, job in zip(shares, self._jobs, strict=True)) / total
        elapsed = now - self._started
        running = [job.name for job, share in zip(self._jobs, shares, strict=True) if 0 < share < 1]
        left = f"about {minutes(elapsed * (1 - done) / done)} left" if done else "time left unknown yet"
        names = f"; training {', '.join(running)}" if running else ""
        jobs = f"{sum(finished)} of {len(finished)} jobs"
        return f"progress: {done:.0%} done in {minutes(elapsed)}, {left} ({jobs}{names})"

    def show(self, ended: threading.Event) -> None:
        """Print a line to stderr every `INTERVAL` seconds, until the event is set."""
        while not ended.wait(INTERVAL):
            print(self.line(time.time()), file=sys.stderr, flush=True)


def minutes(seconds: float) -> str:
    """Return a duration as text: seconds below one minute, minutes below two hours, then hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
