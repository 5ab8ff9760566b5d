"""Record of a task's predictions right after its training, a JSON file beside the stored task.

A training ends with a measurement of its task on the validation split, in sweeps on `dev`. The record contains the
SHA-256 of these predictions, and machine and libraries; `palimpsest.analysis.verification` compares later
measurements with it. It is a separate file, so that a change of the stored task does not change the record. It also
contains the losses of the training, for the learning curves of the report.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from palimpsest.errors import StorageError
from palimpsest.layout import making_command
from palimpsest.storage.atomic import write_text

FORMAT = "palimpsest predictions 1"
"""Name and version of the file's format."""


@dataclass(frozen=True)
class PredictionRecord:
    """Measurement of a task right after its training, with the circumstances that later measurements need."""

    method: str
    task: str
    seed: int
    checksum: str
    """SHA-256 of the raw predictions on the measured split; see `Measurement.checksum`."""
    images: int
    """Number of pictures in this split."""
    metrics: Mapping[str, float]
    """Metrics on this split, by name."""
    file_sha256: str
    """SHA-256 of the tensors of the stored task."""
    data_sha256: str
    """SHA-256 of the prepared arrays, which contain this split."""
    trained_in: str
    """Precision of the training; predictions are always computed in float32."""
    conditions: Mapping[str, str]
    """Machine and libraries that computed the predictions; see `devices.measuring_conditions`."""
    split: str = "val"
    """Measured split; records of earlier versions are of ``val``."""
    losses: Sequence[Mapping[str, float]] = ()
    """Mean of each part of the training loss over the steps of an epoch, by name, with ``step``, the last of these
    steps; one entry per epoch. Empty after a training on several tasks, and in records of earlier versions."""


def save_record(path: Path, record: PredictionRecord) -> None:
    """Write a `PredictionRecord` to a file atomically; equal records give equal bytes."""
    content = {"format": FORMAT, **asdict(record)}
    write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def load_record(path: Path) -> PredictionRecord:
    """Load the `PredictionRecord` from a file.

    Raises:
        StorageError: the file is missing, damaged or of another format.
    """
    advice = "restore it with `dvc pull`, or delete it: the next `snakemake all` trains the task again"
    try:
        content = json.loads(path.read_text("utf-8"))
        version = content.pop("format")
        if version != FORMAT:
            raise StorageError(f"{path}: expected format {FORMAT!r}, found {version!r}; {advice}")
        return PredictionRecord(**content)
    except FileNotFoundError:
        raise StorageError(
            f"{path}: is missing; restore it with `dvc pull`, or run `{making_command(path)}`"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"{path}: is damaged ({error!r}); {advice}") from error
