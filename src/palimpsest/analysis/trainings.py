"""Diagnostics, losses, time and memory of single trainings."""

from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.training.cost import load_cost


def diagnostic_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """Return the rows of `diagnostics.csv`, one per task and diagnostic of its training: task, name, value.

    Diagnostics are figures that a method records, such as the share of free weights.
    """
    return [
        {"task": task, "name": name, "value": value}
        for task in stored.sequence
        for name, value in stored.open(task).provenance.diagnostics.items()
    ]


def loss_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """Return the rows of `losses.csv`, one per task, epoch and part of the training loss: task, step, name, value.

    The losses are those in the prediction records. Tasks whose file is that of the base network have the losses of
    its training.
    """
    return [
        {"task": task, "step": round(entry["step"]), "name": name, "value": value}
        for task in stored.sequence
        for entry in stored.prediction_record(task).losses
        for name, value in entry.items()
        if name != "step"
    ]


def cost_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """Return the rows of `costs.csv`, one per task whose training has a record: task, seconds, peak_memory (MiB).

    A record whose checksum differs from the stored task, as after a checkout of an older state, belongs to another
    training and is ignored. A joint training counts in full for each of its tasks, because adding a task repeats
    the training of all.
    """
    rows: list[dict[str, object]] = []
    for task in stored.sequence:
        source = stored.base if stored.is_base(task) else stored
        first = source.task_files.trained_with(task)[0]
        cost = load_cost(stored.layout.cost(stored.seed, source.method, first))
        if cost is not None and cost.sha256 == stored.open(first).sha256:
            rows.append({"task": task, "seconds": cost.seconds, "peak_memory": cost.peak_memory})
    return rows
