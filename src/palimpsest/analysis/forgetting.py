"""Forgetting matrix: each task measured right after training and after every later task.

Each cell runs the network on the whole validation split (in sweeps on `dev`), also for methods that cannot forget.
All tasks learned so far share one network in memory, with one copy of the base's weights. Every task is loaded once
before the first measurement, so that a task that damages the base or the tensors of another task changes the
predictions of that task.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from palimpsest.analysis.measurement import Measurement, measure, metrics_line
from palimpsest.data.arrays import Prepared
from palimpsest.devices import device_for
from palimpsest.groups import MeasuredSplit
from palimpsest.inference import Predictor
from palimpsest.jobs import EvaluationJob
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.switcher import TaskSwitcher
from palimpsest.tasks.base import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """Cell of the forgetting matrix: a task, measured after the training on the task `after`."""

    task: str
    after: str
    measurement: Measurement


def measure_matrix(
    stored: StoredTasks,
    tasks: Sequence[Task],
    prepared: dict[str, Prepared],
    device: torch.device,
    samples: int,
    split: MeasuredSplit = "val",
) -> Iterator[Cell]:
    """Measure each task after its own training and after each later training; yield the cells in this order.

    tasks: in the order of learning. prepared: arrays by task. samples: number of predictions per cell to keep as
    pictures. Each cell is logged.

    Raises:
        StorageError: a file is missing, damaged or from another network.
    """
    for index, after in enumerate(tasks):
        learned = tasks[: index + 1]
        switcher = TaskSwitcher.of(stored, learned, device)
        for task in learned:
            switcher.switch(task.name)
        for task in learned:
            predictor = Predictor(switcher.switch(task.name), task)
            measured = measure(predictor.predict, task, prepared[task.name], device, samples, split)
            log.info("%s after %s: %s", task.name, after.name, metrics_line(measured.metrics))
            yield Cell(task.name, after.name, measured)


def metric_rows(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """Return the rows of `metrics.csv`, one per cell and metric, without the columns seed and method."""
    return [
        {
            "task": cell.task,
            "after": cell.after,
            "metric": metric,
            "value": value,
            "images": cell.measurement.images,
            "checksum": cell.measurement.checksum,
            "std_error": cell.measurement.errors.get(metric),
        }
        for cell in cells
        for metric, value in cell.measurement.metrics.items()
    ]


def choose_device(job: EvaluationJob) -> torch.device:
    """Return the device that the settings of a job select; set the number of CPU threads of this process."""
    torch.set_num_threads(job.threads)
    return device_for(job.accelerator)
