"""Predictions of today compared with those recorded when the task had just been learned.

Equal checksums verify a task: file, loading and shared weights give the very predictions of the trained network.
Different ones mean a change, unless machine, libraries or validation pictures differ too: then the last bits of a
prediction differ anyway, and nothing can be concluded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from palimpsest.analysis.forgetting import Cell
from palimpsest.analysis.tables import Outcome
from palimpsest.storage.prediction_record import PredictionRecord
from palimpsest.storage.stored_tasks import StoredTasks


@dataclass(frozen=True)
class Verdict:
    """Outcome of one comparison."""

    outcome: Outcome
    reason: str = ""
    """Differences in words; empty where there are none."""


def compare(
    record: PredictionRecord, checksum: str, *, file_sha256: str, data_sha256: str, conditions: Mapping[str, str]
) -> Verdict:
    """Compare a measurement of today with the record of the training.

    Args:
        record: what was recorded when the task had just been learned.
        checksum: SHA-256 of the predictions of today.
        file_sha256: of the tensors in the task's file today. Where these differ from the recorded ones, the
            predictions have changed whatever the machine.
        data_sha256: of the prepared arrays of today.
        conditions: machine and libraries of today.
    """
    if record.checksum == checksum:
        return Verdict("verified")
    if record.file_sha256 != file_sha256:
        return Verdict("changed", f"the stored task was altered: {record.file_sha256[:12]}… → {file_sha256[:12]}…")
    differences = [
        f"{name} {record.conditions.get(name, 'unknown')} → {conditions.get(name, 'unknown')}"
        for name in sorted({*record.conditions, *conditions})
        if record.conditions.get(name) != conditions.get(name)
    ]
    if record.data_sha256 != data_sha256:
        differences.insert(0, "other validation pictures")
    if differences:
        return Verdict("not comparable", "; ".join(differences))
    return Verdict(
        "changed", "the stored task is as it was; what it shares with other tasks, or its loading, is not"
    )


def verification_rows(
    stored: StoredTasks, cells: Sequence[Cell], data_sha256: Mapping[str, str], conditions: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    """Yield one row per cell of the forgetting matrix: task, after, outcome, reason.

    Raises:
        StorageError: a record is missing, damaged, or of another task.
    """
    for cell in cells:
        verdict = compare(
            stored.prediction_record(cell.task),
            cell.measurement.checksum,
            file_sha256=stored.file(cell.task).sha256,
            data_sha256=data_sha256[cell.task],
            conditions=conditions,
        )
        yield {"task": cell.task, "after": cell.after, "outcome": verdict.outcome, "reason": verdict.reason}
