"""Requests for the times of trainings and measurements, and the times that answer them."""

from collections.abc import Mapping
from dataclasses import dataclass

from palimpsest.jobs import TrainingJob
from palimpsest.settings import Settings


@dataclass(frozen=True)
class Pictures:
    """Number of prepared pictures of a task by split."""

    train: int
    val: int


@dataclass(frozen=True)
class TrainingRequest:
    """Training to time, one of its group."""

    settings: Settings
    method: str
    task: str
    pictures: Mapping[str, Pictures]
    """Numbers of pictures by task."""

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"training of {self.method} on {self.task}"


@dataclass(frozen=True)
class TrainingTime:
    """Times of a training in seconds, and bytes of its files."""

    step: float
    """Time of one step."""
    epoch: float
    """Time of the checkpoint after an epoch."""
    rest: float
    """Time before the first and after the last step, without the start of the process."""
    stored: int
    """Bytes of the stored tasks."""
    checkpoint: int
    """Bytes of the checkpoint, which is deleted after the training."""


@dataclass(frozen=True)
class MeasurementRequest:
    """Measurement of a trained task to time, one of its group."""

    job: TrainingJob
    task: str
    pictures: Pictures

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"measurement of {self.task}"


@dataclass(frozen=True)
class MeasurementTime:
    """Time to measure all validation pictures of a task, in seconds."""

    plain: float
    """Without standard errors, as after a training."""
    with_errors: float
    """With standard errors, as in an evaluation."""


Request = TrainingRequest | MeasurementRequest
Timed = TrainingTime | MeasurementTime
