"""Numbers of pictures of the tasks of a run, before and after their preparation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from palimpsest.data.generated_settings import GeneratedDatasetSettings
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.sources import open_dataset
from palimpsest.data.targets import Target
from palimpsest.jobs import PreparationJob, preparation_job
from palimpsest.settings import Settings
from palimpsest.tasks import KINDS

COCO_2017 = {"train": 118287, "val": 5000, "unlabeled": 123403}
"""Pictures of COCO 2017 by split."""
SMALL_COCO = {"train": 3000, "val": 1000, "unlabeled": 1000}
"""Expected pictures by split of COCO's val2017, which is split by picture id modulo 5."""
VOC_2012 = {"train": 1464, "val": 1449, "trainval": 2913}
"""Pictures of Pascal VOC 2012 with label maps, by split."""


@dataclass(frozen=True)
class Counts:
    """Prepared pictures of a task by split; before the preparation those listed, without exclusions."""

    train: int
    dev: int
    val: int

    @property
    def total(self) -> int:
        """Pictures of all splits."""
        return self.train + self.dev + self.val


def counts_of(settings: Settings, task: str, *, prepared: bool) -> Counts:
    """Return the numbers of pictures of a task; ``prepared`` is True if its arrays are up to date.

    Raises:
        DataError: the files of the user's data set cannot be read, or a split is missing.
    """
    if prepared:
        info = json.loads((settings.layout.prepared(task) / "info.json").read_text("utf-8"))
        splits = {name: int(entry["pictures"]) for name, entry in info["splits"].items()}
        return Counts(splits["train"], splits.get("dev", 0), splits["val"])
    job = preparation_job(settings, task)
    train = listed(settings, job.data, job.splits["train"])
    train += sum(
        listed(settings, name, split)
        for name, additional in job.additional_pictures.items()
        for split in additional.splits
    )
    train = min(train, job.images.get("train", train))
    val = listed(settings, job.data, job.splits["val"])
    dev = round(job.dev_share * train)
    return Counts(train - dev, dev, min(val, job.images.get("val", val)))


def listed(settings: Settings, name: str, split: str) -> int:
    """Return the number of pictures of one split of a data set; for one to be downloaded, that of the public one.

    Raises:
        DataError: the files of the user's data set cannot be read, or the split is missing.
    """
    dataset, manifest = settings.datasets[name], settings.layout.manifest(name)
    if not manifest.exists():
        if isinstance(dataset, GeneratedDatasetSettings) and dataset.source == "generated":
            return generated(dataset.generate, split)
        if isinstance(dataset, PublicDatasetSettings) and dataset.source == "download":
            small = SMALL_COCO if dataset.is_small_coco else COCO_2017
            return (small if dataset.format == "coco" else VOC_2012)[split.removesuffix("2017")]
    return len(open_dataset(dataset, manifest.parent).records(split))


def generated(generate: Mapping[str, int], split: str) -> int:
    """Return the number of generated pictures of a split; ``trainval`` of VOC is the sum of two."""
    names = ("train", "val") if split == "trainval" else (split,)
    return sum(generate.get(name, generate.get(f"{name}2017", 0)) for name in names)


def prepared_bytes(job: PreparationJob, pictures: int) -> int:
    """Return the bytes of the prepared arrays of so many pictures, without the header of the files."""
    target = KINDS[job.kind].target
    return pictures * (3 * job.size**2 + (0 if target is None else target_bytes(target, job.size)))


def target_bytes(target: Target, size: int) -> int:
    """Return the bytes of one prepared target."""
    count = 1
    for side in target.shape(size):
        count *= side
    return count * (4 if target.dtype == "float32" else 1)
