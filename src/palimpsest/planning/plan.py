"""Plan of a run in the folder of a study: finds the jobs, measures their steps, and estimates."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from palimpsest import machine
from palimpsest.params import read, resolve
from palimpsest.planning.estimate import Estimate, Run
from palimpsest.planning.graph import graph_of
from palimpsest.planning.processes import time_all

Progress = Callable[[int, int], None]
"""Function that is called with the numbers of measured groups and of all groups."""


def plan(
    config: Mapping[str, Any], cores: int | None = None, progress: Progress = lambda done, groups: None
) -> Estimate:
    """Return the plan of `snakemake all` with overrides of `params.yaml`, on so many cores (None: all).

    Raises:
        SettingsError: the settings are wrong, or Snakemake is missing.
        DataError: the user's data set cannot be read.
        PalimpsestError: a training cannot be measured.
    """
    settings = resolve(read(Path("params.yaml")), config)
    available = machine.cores()
    graph = graph_of(config, min(cores or available, available))
    run = Run.of(settings, graph.jobs, min(cores or available, available))
    requests = run.requests()
    progress(0, len(requests))
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(done, len(requests))

    processes = min(run.side_by_side, max(1, len(requests)))
    times, start = time_all(requests, processes, settings.training.threads, count) if requests else ({}, 0.0)
    return run.estimate(times, start, graph.seconds)
