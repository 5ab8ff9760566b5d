"""Measure the trivial baseline of each task, and paint inputs, targets and its predictions.

python -m pipeline.floor --seed 0
"""

import argparse
from collections.abc import Iterable

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.conditions import library_versions
from palimpsest.analysis.forgetting import Cell, choose_device, metric_rows
from palimpsest.analysis.measurement import measure
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.data.encoding import write_picture
from palimpsest.devices import measuring_conditions
from palimpsest.jobs import evaluation_job
from palimpsest.layout import Layout
from palimpsest.provenance import code_version, origin
from palimpsest.settings import FLOOR, Settings
from palimpsest.storage.atomic import write_text
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Pixels, to_pixels


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write `metrics.csv`, `samples/` and `origin.json` of the trivial baseline."""
    code_version()  # cached now, because the code may change during the measurement
    job = evaluation_job(settings, options.seed, FLOOR)
    folder = layout.evaluation(options.seed, FLOOR)
    device = choose_device(job)
    cells, data = [], {}
    for name in job.sequence:
        task = build_task(name, job.tasks[name]).to(device)
        prepared = Prepared.open(layout.prepared(name))
        data[name] = prepared.sha256
        targets = None if prepared.target is None else prepared.target[prepared.rows("train")]
        measured = measure(task.floor(targets), task, prepared, device, job.samples, job.split)
        cells.append(Cell(name, name, measured))
        batch = next(evaluation_batches(prepared, job.split, job.samples))
        painted: dict[str, Iterable[Pixels]] = {
            "input": to_pixels(task.inputs(batch)),
            "target": task.paint_target(batch),
            "floor": measured.samples,
        }
        for title, pictures in painted.items():
            for number, picture in enumerate(pictures):
                write_picture(folder / "samples" / name / f"{title}-{number}.png", picture)
    write_text(folder / "metrics.csv", pd.DataFrame(metric_rows(cells)).to_csv(index=False))
    content = origin(job, data, conditions=measuring_conditions(device), libraries=library_versions())
    write_text(layout.origin(options.seed, FLOOR), content)


if __name__ == "__main__":
    stage.run(main, __doc__, "seed")
