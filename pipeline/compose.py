"""Compose two tasks of a method in all configured ways; measure and paint the results.

python -m pipeline.compose --composition piggyback-style-gogh+style-munch
"""

import argparse

import pandas as pd
import torch

from palimpsest import stage
from palimpsest.analysis.forgetting import choose_device
from palimpsest.composition import composed_rows, compositions
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.data.encoding import write_picture
from palimpsest.inference import Predictor
from palimpsest.jobs import composition_job
from palimpsest.layout import Layout
from palimpsest.provenance import code_version, origin
from palimpsest.report.grid import titled_columns
from palimpsest.settings import Settings
from palimpsest.storage.atomic import write_text
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks import build_task
from palimpsest.tasks.base import to_pixels, unit

SIDE = 128
"""Minimum side in pixels of the pictures in the grid; smaller ones are enlarged, so that their titles fit."""


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write `grid.png`, `metrics.csv` and `origin.json` of one composition."""
    code_version()  # cached now, because the code may change during the measurement
    job = composition_job(settings, options.composition)
    stored = StoredTasks.of(settings, job.seed, job.method)
    device = choose_device(job)
    latest = max(job.sequence, key=settings.sequence.index)  # shared tensors are those after this task
    tasks = [build_task(name, job.tasks[name]).to(device) for name in job.sequence]
    first, second = (Predictor(stored.network(task.name, latest).to(device), task) for task in tasks)
    prepared = {task.name: Prepared.open(layout.prepared(task.name)) for task in tasks}
    batch = next(evaluation_batches(prepared[first.task.name], "val", job.samples))
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    columns = [("photograph", to_pixels(unit(batch["picture"])))]
    rows: list[dict[str, object]] = []
    for composed in compositions(job.composition, first, second, prepared, device):
        # a picture can be measured by both tasks, a label map only by the task that predicts it
        measurable = tasks if job.tasks[second.task.name].gives_picture else [composed.task]
        rows += composed_rows(composed, measurable, prepared, device)
        with torch.inference_mode():
            columns.append((composed.title, composed.task.paint(composed.predict(batch))))
    folder = layout.composition(job.composition.name)
    write_picture(folder / "grid.png", titled_columns(columns, max(SIDE, batch["picture"].shape[-1])))
    write_text(folder / "metrics.csv", pd.DataFrame(rows).to_csv(index=False))
    data = {name: arrays.sha256 for name, arrays in prepared.items()}
    write_text(folder / "origin.json", origin(job, data))


if __name__ == "__main__":
    stage.run(main, __doc__, "composition")
