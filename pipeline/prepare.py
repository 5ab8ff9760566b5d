"""Turn a data set into the memory-mapped arrays of one task.

python -m pipeline.prepare --task voc-seg
"""

import argparse
import logging

from palimpsest import stage
from palimpsest.data.arrays import Prepared
from palimpsest.data.census import census_lines
from palimpsest.data.joined import JoinedReader, Part
from palimpsest.data.manifest import Digests, FileDigest, JoinedDigests
from palimpsest.data.pictures import Limits
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import DatasetReader, SampleSpec, ValueScale
from palimpsest.data.sources import classes_of, open_dataset
from palimpsest.jobs import PreparationJob, preparation_job
from palimpsest.layout import Layout
from palimpsest.settings import Settings
from palimpsest.tasks import KINDS, task_class

log = logging.getLogger("palimpsest.prepare")


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the task's prepared arrays, `index.csv` and `info.json`, and log a census of the pictures."""
    job = preparation_job(settings, options.task)
    manifest, limits = layout.manifest(job.data), Limits(job.max_megapixels)
    dataset = open_dataset(job.dataset, manifest.parent, limits)
    splits = dict(job.splits)
    digests: FileDigest = Digests(dataset.root, manifest)
    if job.additional_pictures:
        dataset, digests = with_additional_pictures(dataset, job, layout)
        splits["train"] = dataset.joined
    classes = classes_of(options.task, job, dataset)
    for note in classes.notes if classes else ():
        log.info(note)
    folder = layout.prepared(options.task)
    prepare(
        dataset,
        folder,
        {split: (source, job.images.get(split)) for split, source in splits.items()},
        SampleSpec(job.size, KINDS[job.kind].target, classes, limits, ValueScale(job.scale, job.valid)),
        refuse=task_class(job.kind).refuse,
        log=log.info,
        max_broken_share=job.broken_share,
        dev_share=job.dev_share,
        digests=digests,
    )
    for line in census_lines(Prepared.open(folder).info):
        log.info(line)


def with_additional_pictures(
    dataset: DatasetReader, job: PreparationJob, layout: Layout
) -> tuple[JoinedReader, FileDigest]:
    """Return a reader of ``dataset``, that of the task, with the split `joined`, and the digests of all files."""
    parts, digests = [], [Digests(dataset.root, layout.manifest(job.data))]
    for name, additional in job.additional_pictures.items():
        reader, manifest = dataset, layout.manifest(name)
        if name != job.data:
            reader = open_dataset(additional.dataset, manifest.parent, Limits(job.max_megapixels))
            digests.append(Digests(reader.root, manifest))
        parts += [Part(name, reader, split) for split in additional.splits]
    return JoinedReader(Part(job.data, dataset, job.splits["train"]), parts), JoinedDigests(digests)


if __name__ == "__main__":
    stage.run(main, __doc__, "task")
