"""What single trainings have to tell, and what they took of time and memory."""

from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.training.cost import load_cost


def diagnostic_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """One row per task and diagnostic of its training: task, name, value."""
    return [
        {"task": task, "name": name, "value": value}
        for task in stored.sequence
        for name, value in stored.file(task).provenance.diagnostics.items()
    ]


def cost_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """One row per task: task, seconds, peak_memory (MiB); none for a task of whose training there is no record.

    A record that is not of the very training that left the stored task, as after an older state was checked out,
    is not taken. One training that teaches all tasks counts for each as a whole: who adds a task repeats it.
    """
    rows: list[dict[str, object]] = []
    for task in stored.sequence:
        owner = stored.base if stored.is_base(task) else stored
        first = owner.task_files.trained_with(task)[0]
        cost = load_cost(stored.layout.cost(stored.seed, owner.method, first))
        if cost is not None and cost.sha256 == stored.file(first).sha256:
            rows.append({"task": task, "seconds": cost.seconds, "peak_memory": cost.peak_memory})
    return rows
