"""Turn a data set into the memory-mapped arrays of one task.

python -m pipeline.prepare --task voc-seg
"""

import argparse
import logging

from palimpsest import stage
from palimpsest.data.arrays import Prepared
from palimpsest.data.census import census_lines
from palimpsest.data.manifest import Digests
from palimpsest.data.pictures import Limits
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import SampleSpec, ValueScale
from palimpsest.data.sources import classes_of, open_dataset
from palimpsest.jobs import preparation_job
from palimpsest.layout import Layout
from palimpsest.settings import Settings
from palimpsest.tasks import KINDS, task_class

log = logging.getLogger("palimpsest.prepare")


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the task's prepared arrays, `index.csv` and `info.json`, and log a census of the pictures."""
    job = preparation_job(settings, options.task)
    manifest, limits = layout.manifest(job.data), Limits(job.max_megapixels)
    dataset = open_dataset(job.dataset, manifest.parent, limits)
    classes = classes_of(options.task, job, dataset)
    for note in classes.notes if classes else ():
        log.info(note)
    folder = layout.prepared(options.task)
    prepare(
        dataset,
        folder,
        {split: (source, job.images.get(split)) for split, source in job.splits.items()},
        SampleSpec(job.size, KINDS[job.kind].target, classes, limits, ValueScale(job.scale, job.valid)),
        refuse=task_class(job.kind).refuse,
        log=log.info,
        max_broken_share=job.broken_share,
        dev_share=job.dev_share,
        digests=Digests(dataset.root, manifest),
    )
    for line in census_lines(Prepared.open(folder).info):
        log.info(line)


if __name__ == "__main__":
    stage.run(main, __doc__, "task")
