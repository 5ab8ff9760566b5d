"""Length of a run from the durations of its jobs, their dependencies and the cores."""

import heapq
from collections.abc import Sequence

from palimpsest.planning.graph import Job

GPU_JOBS = 1
"""Jobs on GPUs that run side by side, the resource `gpu` of `profiles/default`."""


def makespan(jobs: Sequence[Job], seconds: Sequence[float], cores: int) -> float:
    """Return the seconds in which the jobs end if each starts as soon as its inputs, cores and GPU are free.

    Among jobs that could start, those of higher priority do, then those listed first. ``seconds`` are the durations
    of the jobs; all are to run.
    """
    maker = {path: index for index, job in enumerate(jobs) for path in job.outputs}
    waits = [{maker[path] for path in job.inputs if path in maker} for job in jobs]
    order = sorted(range(len(jobs)), key=lambda index: -jobs[index].priority)
    running: list[tuple[float, int]] = []
    free, gpus, now = cores, GPU_JOBS, 0.0
    while order or running:
        for index in list(order):
            threads, cards = min(jobs[index].threads, cores), min(jobs[index].gpus, GPU_JOBS)
            if not waits[index] and threads <= free and cards <= gpus:
                free, gpus = free - threads, gpus - cards
                heapq.heappush(running, (now + seconds[index], index))
                order.remove(index)
        now, ended = heapq.heappop(running)
        free += min(jobs[ended].threads, cores)
        gpus += min(jobs[ended].gpus, GPU_JOBS)
        for inputs in waits:
            inputs.discard(ended)
    return now
