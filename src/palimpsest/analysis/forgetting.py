"""The forgetting matrix: every task learned so far is measured again after every later task.

Nothing is copied from one cell to another, not even for methods that cannot forget: each cell runs the network
on the whole validation split, and the SHA-256 of its raw predictions says whether a single bit changed.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.devices import device_for
from palimpsest.settings import Examination
from palimpsest.storage.recall import StoredTasks
from palimpsest.tasks.base import Batch, Pixels, Task

log = logging.getLogger(__name__)

BATCH_SIZE = 16


@dataclass(frozen=True)
class Measurement:
    """One task measured on its validation split."""

    metrics: dict[str, float]
    images: int
    checksum: str
    """SHA-256 of the raw predictions, float32, in the order of the index."""
    samples: list[Pixels]
    """The first predictions, painted."""


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    task: str
    after: str
    measurement: Measurement


def forgetting_matrix(
    stored: StoredTasks,
    tasks: Sequence[Task],
    prepared: dict[str, Prepared],
    device: torch.device,
    samples: int,
) -> Iterator[Cell]:
    """Measure every task after itself and after every later task, in the order of learning."""
    for last, after in enumerate(tasks):
        for task in tasks[: last + 1]:
            network = stored.network(task, after.name).to(device)
            measured = measure(Predictor(network, task), task, prepared[task.name], device, samples)
            log.info("%s after %s: %s", task.name, after.name, headline(measured.metrics))
            yield Cell(task.name, after.name, measured)


def metric_rows(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """The rows of `metrics.csv`, without seed and method."""
    return [
        {
            "task": cell.task,
            "after": cell.after,
            "metric": metric,
            "value": value,
            "images": cell.measurement.images,
            "checksum": cell.measurement.checksum,
        }
        for cell in cells
        for metric, value in cell.measurement.metrics.items()
    ]


def choose_device(examination: Examination) -> torch.device:
    """Where to measure, as the settings say; also sets the number of CPU threads."""
    torch.set_num_threads(examination.threads)
    return device_for(examination.accelerator)


class Predictor:
    """A network as a function from a batch to the task's prediction, in float32."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        self.network = network
        self.task = task

    def __call__(self, batch: Batch) -> Tensor:
        """The prediction of one batch."""
        return self.task.prediction(self.network(self.inputs(batch)), batch)

    def inputs(self, batch: Batch) -> Tensor:
        """What the network sees of a batch, in the order of memory that convolutions are fast in."""
        return self.task.inputs(batch).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def measure(
    answer: Callable[[Batch], Tensor], task: Task, prepared: Prepared, device: torch.device, samples: int
) -> Measurement:
    """Run an answer, learned or not, over the validation split."""
    task.to(device)
    meter = task.meter()
    digest = hashlib.sha256()
    painted: list[Pixels] = []
    images = 0
    for loaded in evaluation_batches(prepared, "val", BATCH_SIZE):
        batch = {key: value.to(device) for key, value in loaded.items()}
        prediction = answer(batch)
        digest.update(np.ascontiguousarray(prediction.cpu().numpy()).tobytes())
        meter.update(prediction, batch)
        images += len(batch["picture"])
        if len(painted) < samples:
            painted.extend(task.paint(prediction))
    return Measurement(meter.compute(), images, digest.hexdigest(), painted[:samples])


def headline(metrics: dict[str, float]) -> str:
    """The figures of a measurement on one line, without those of single classes."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if "/" not in name)
