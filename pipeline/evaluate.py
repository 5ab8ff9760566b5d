"""Measure one method on every task after every later task, measure its files, and paint samples.

python -m pipeline.evaluate --seed 0 --method piggyback
"""

import argparse
import logging

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.conditions import library_versions
from palimpsest.analysis.forgetting import choose_device, measure_matrix, metric_rows
from palimpsest.analysis.masks import masks_of, similarity_rows, zero_rows
from palimpsest.analysis.sizes import growth_rows, size_rows
from palimpsest.analysis.trainings import cost_rows, diagnostic_rows, loss_rows
from palimpsest.analysis.verification import verification_rows
from palimpsest.data.arrays import Prepared
from palimpsest.data.encoding import write_picture
from palimpsest.devices import measuring_conditions
from palimpsest.jobs import evaluation_job
from palimpsest.layout import Layout
from palimpsest.provenance import code_version, origin
from palimpsest.settings import Settings
from palimpsest.storage.atomic import write_text
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks import build_task
from palimpsest.tracking import runs

log = logging.getLogger("palimpsest.evaluate")


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the method's tables (`palimpsest.analysis.tables.COLUMNS`), `samples/` and `origin.json`.

    The measurements are also added to the MLflow runs of the trainings, unless a variant shares these.
    """
    code_version()  # cached now, because the code may change during the measurement
    job = evaluation_job(settings, options.seed, options.method)
    stored = StoredTasks.of(settings, options.seed, options.method)
    folder = layout.evaluation(options.seed, options.method)
    tasks = [build_task(name, job.tasks[name]) for name in job.sequence]
    prepared = {task.name: Prepared.open(layout.prepared(task.name)) for task in tasks}
    device = choose_device(job)
    cells = list(measure_matrix(stored, tasks, prepared, device, job.samples, job.split))
    for cell in cells:
        if cell.after in (cell.task, job.sequence[-1]):
            for number, picture in enumerate(cell.measurement.samples):
                write_picture(folder / "samples" / cell.task / f"after-{cell.after}-{number}.png", picture)
    masks = masks_of(stored)
    data = {name: arrays.sha256 for name, arrays in prepared.items()}
    conditions = measuring_conditions(device)
    verification = list(verification_rows(stored, cells, job.split, data, conditions))
    for row in verification:
        if row["outcome"] != "verified":
            log.info("%s after %s: %s since learned: %s", *row.values())
    tables = {
        "metrics": metric_rows(cells),
        "sizes": size_rows(stored),
        "growth": growth_rows(stored),
        "diagnostics": diagnostic_rows(stored),
        "costs": cost_rows(stored),
        "losses": loss_rows(stored),
        "verification": verification,
        "zeros": zero_rows(masks),
        "similarity": similarity_rows(masks),
    }
    if layout.shares != "all":  # the runs of the preset have its measurements on `val`
        runs.complete_runs(layout, options.seed, options.method, cells, tables, folder / "samples")
    for name, rows in tables.items():
        write_text(folder / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))
    records = {task: stored.prediction_record(task) for task in stored.sequence}
    content = origin(
        job,
        data,
        conditions=conditions,
        trained_in={task: record.trained_in for task, record in records.items()},
        trained_on={task: record.conditions for task, record in records.items()},
        libraries=library_versions(),
    )
    write_text(layout.origin(options.seed, options.method), content)


if __name__ == "__main__":
    stage.run(main, __doc__, "seed", "method")
