"""Processes that time trainings and measurements.

As many processes measure side by side as the run has jobs side by side, each with the threads of a job, so that
they share cores, caches and memory bandwidth as the jobs do.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import psutil

from palimpsest import machine
from palimpsest.errors import PalimpsestError, user_message
from palimpsest.planning.requests import Request, Timed, TrainingRequest
from palimpsest.planning.timing import time_measurement, time_training

_started = 0.0
"""Seconds in which this process started and imported what a training imports."""


@contextmanager
def job_environment(threads: int) -> Iterator[None]:
    """Set the environment in which Snakemake starts a job with this number of threads."""
    values = {**machine.KEEP_MEMORY, **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def interruptions_ignored() -> Iterator[None]:
    """Ignore Ctrl-C in a block, and in the processes that it starts: the first process ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start_process() -> None:
    """Import what a training imports, and note how long the process took to start."""
    global _started  # noqa: PLW0603 (one value per process)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), sys.stderr.fileno())  # notes of libraries, once per training
    sys.path.insert(0, "")  # `pipeline` is in the working directory, as for `python -m pipeline.train`
    importlib.import_module("pipeline.train")
    _started = time.time() - psutil.Process().create_time()


def timed(request: Request, folder: Path) -> tuple[Timed, float]:
    """Return the times for a request, and the seconds in which this process started; files are below ``folder``."""
    with tempfile.TemporaryDirectory(dir=folder) as files:
        if isinstance(request, TrainingRequest):
            return time_training(request, Path(files)), _started
        return time_measurement(request, Path(files)), _started


def time_all(
    requests: Mapping[str, Request], processes: int, threads: int, on_done: Callable[[], None] = lambda: None
) -> tuple[dict[str, Timed], float]:
    """Return the times for each request, by its key, and the mean seconds of a process's start.

    Raises:
        PalimpsestError: a training cannot be measured, as without enough memory.
    """
    results: dict[str, Timed] = {}
    starts: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="palimpsest-plan-", ignore_cleanup_errors=True) as folder,
        job_environment(threads),
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), start_process) as pool,
    ):
        with interruptions_ignored():  # by the processes, which start now
            futures: dict[Future[tuple[Timed, float]], str] = {
                pool.submit(timed, request, Path(folder)): key for key, request in requests.items()
            }
        try:
            for future in as_completed(futures):
                results[futures[future]], start = result_of(future, requests[futures[future]])
                starts.append(start)
                on_done()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
                child.join()
            raise
    return results, sum(starts) / len(starts)


def result_of(future: Future[tuple[Timed, float]], request: Request) -> tuple[Timed, float]:
    """Return the result of a request.

    Raises:
        PalimpsestError: the process ended, or the training failed.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise PalimpsestError(
            f"{request.name}: the measuring process ended, as it does without enough memory; lower --cores"
        ) from error
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        raise PalimpsestError(f"{request.name}: {message}") from error
