"""Comparison of current predictions with those recorded at the end of the task's training.

Equal checksums verify a task: its file, its loading and the shared weights reproduce the predictions of the trained
network bit for bit. Different checksums mean a change, unless machine, libraries or pictures differ too;
the predictions are then not comparable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from palimpsest.analysis.forgetting import Cell
from palimpsest.analysis.tables import Outcome
from palimpsest.storage.prediction_record import PredictionRecord
from palimpsest.storage.stored_tasks import StoredTasks


@dataclass(frozen=True)
class Verdict:
    """Result of comparing current predictions of a task with those recorded at the end of its training."""

    outcome: Outcome
    reason: str = ""
    """Differences in words; empty for the outcome ``verified``."""


def compare(
    record: PredictionRecord,
    checksum: str,
    *,
    split: str,
    file_sha256: str,
    data_sha256: str,
    conditions: Mapping[str, str],
) -> Verdict:
    """Return the result of comparing current predictions with the record of the training.

    Args:
        record: prediction record, written at the end of the training.
        checksum: SHA-256 of the current predictions.
        split: split of the current predictions.
        file_sha256: SHA-256 of the tensors in the task's current file. If both this and the predictions differ from
            the record, the outcome is "changed" on any machine.
        data_sha256: SHA-256 of the current prepared arrays.
        conditions: current machine and libraries.
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
        differences.insert(0, "other pictures")
    if record.split != split:
        differences.insert(0, f"recorded on {record.split}, measured on {split}")
    if differences:
        return Verdict("not comparable", "; ".join(differences))
    return Verdict(
        "changed", "the stored task is unchanged, but the weights that it shares or the code that loads it differ"
    )


def verification_rows(
    stored: StoredTasks,
    cells: Sequence[Cell],
    split: str,
    data_sha256: Mapping[str, str],
    conditions: Mapping[str, str],
) -> Iterator[dict[str, object]]:
    """Yield the rows of `verification.csv`, one per cell of the forgetting matrix: task, after, outcome, reason.

    split: split that the cells measure. data_sha256: SHA-256 of the current prepared arrays, by task. conditions:
    current machine and libraries.

    Raises:
        StorageError: a record is missing, damaged, or from another task.
    """
    for cell in cells:
        verdict = compare(
            stored.prediction_record(cell.task),
            cell.measurement.checksum,
            split=split,
            file_sha256=stored.open(cell.task).sha256,
            data_sha256=data_sha256[cell.task],
            conditions=conditions,
        )
        yield {"task": cell.task, "after": cell.after, "outcome": verdict.outcome, "reason": verdict.reason}
