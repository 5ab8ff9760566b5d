"""Measurement of a task on a split: predictions, their checksum and the task's metrics.

Trainings and the forgetting matrix both use this code, so that their checksums are comparable.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.errors import DataError, LabelError
from palimpsest.groups import MeasuredSplit
from palimpsest.metrics.bootstrap import standard_errors
from palimpsest.tasks.base import Batch, Pixels, Task

BATCH_SIZE = 16


@dataclass(frozen=True)
class Measurement:
    """Metrics and predictions of one task on a split, after one of the trainings of the sequence."""

    metrics: dict[str, float]
    """Values by the names in `metrics.csv`."""
    errors: dict[str, float]
    """Bootstrap standard errors of the metrics over the pictures of the split, by the same names; maybe empty."""
    images: int
    """Number of pictures in the split."""
    checksum: str
    """SHA-256 of the raw predictions, float32, in the order of `index.csv`."""
    samples: list[Pixels]
    """First predictions as pictures, uint8 (H, W, 3)."""


@torch.inference_mode()
def measure(
    predict: Callable[[Batch], Tensor],
    task: Task,
    prepared: Prepared,
    device: torch.device,
    samples: int,
    split: MeasuredSplit = "val",
    *,
    with_errors: bool = True,
) -> Measurement:
    """Measure the predictions for a whole split of a task; this moves `task` to `device`.

    predict: function from a batch on `device` to its predictions. samples: number of predictions to keep as
    pictures. with_errors: False to save the time of the standard errors.

    Raises:
        DataError: the split has no picture, or a label is no class of the task.
    """
    task.to(device)
    meter = task.meter()
    digest = hashlib.sha256()
    painted: list[Pixels] = []
    images = 0
    for loaded in evaluation_batches(prepared, split, BATCH_SIZE):
        batch = {key: value.to(device) for key, value in loaded.items()}
        prediction = predict(batch)
        digest.update(np.ascontiguousarray(prediction.cpu().numpy()).tobytes())
        try:
            meter.update(prediction, batch)
        except LabelError as error:
            raise DataError(
                f"task {task.name}: {error}; delete its folder of prepared arrays and run snakemake again"
            ) from error
        images += len(batch["picture"])
        if len(painted) < samples:
            painted.extend(task.paint(prediction))
    errors = standard_errors(meter.compute, meter.units) if with_errors else {}
    return Measurement(meter.compute(), errors, images, digest.hexdigest(), painted[:samples])


def metrics_line(metrics: dict[str, float]) -> str:
    """Return the metrics as one line for the log, without those of single classes."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if "/" not in name)
