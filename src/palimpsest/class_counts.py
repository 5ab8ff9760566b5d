"""Categories with enough pictures to be classes of a task, for `palimpsest classes`.

The pictures are those of the task's splits, as the preparation selects them. The label maps come from
`DatasetReader.read`: a method of the readers for this command alone would change the code digest of `prepare`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import yaml

from palimpsest.data.categories import members_of, total
from palimpsest.data.classes import BACKGROUND, Classes
from palimpsest.data.manifest import Digests
from palimpsest.data.pictures import Limits, Record
from palimpsest.data.prepare import usable
from palimpsest.data.reader import DatasetReader, SampleSpec
from palimpsest.data.selection import EarlierSplits, SplitTally, sampling_order
from palimpsest.data.sources import open_dataset
from palimpsest.data.targets import LABELS
from palimpsest.errors import DataError, SettingsError
from palimpsest.jobs import PreparationJob, preparation_job
from palimpsest.layout import making_command
from palimpsest.settings import Settings
from palimpsest.tasks import KINDS

MAX_LABELS = 254
"""Largest number of categories in one label map: the labels 1 to 254."""
SIDE = 32
"""Side of the unused squares that a reader returns beside the label map, in pixels; small ones are read fast."""


@dataclass(frozen=True)
class ClassCount:
    """Numbers of pictures that contain a category, or a category of a supercategory."""

    name: str
    """Name of a category or supercategory."""
    members: tuple[str, ...]
    """Categories that the name means: the category itself, or the members of the supercategory."""
    train: int
    """Number of training pictures with a pixel of a member; pictures of the split ``dev`` are included."""
    val: int
    """Number of validation pictures with a pixel of a member."""

    @property
    def is_group(self) -> bool:
        """True for a supercategory."""
        return self.members != (self.name,)


@dataclass(frozen=True)
class MinimumCounts:
    """Smallest numbers of pictures that a class needs."""

    train: int
    """Smallest number of training pictures, to learn the class."""
    val: int
    """Smallest number of validation pictures, to measure the class."""

    def is_met(self, count: ClassCount) -> bool:
        """Return True if enough training pictures and enough validation pictures contain the class."""
        return count.train >= self.train and count.val >= self.val


def count_classes(settings: Settings, task: str) -> list[ClassCount]:
    """Return the numbers of pictures of each category and supercategory of a task's data set.

    Categories precede supercategories; both are in the order of the data set. Three kinds of names are left out:
    `BACKGROUND`, which no class may have; supercategories with one member; supercategories with the name of an
    annotated category, which this name then means (`members_of`).

    Raises:
        SettingsError: the task has no classes.
        DataError: the data set is missing, or a split has too many broken pictures or no usable one.
    """
    job = preparation_job(settings, task)
    if KINDS[job.kind].target is not LABELS:
        with_classes = [name for name in settings.sequence if KINDS[settings.tasks[name].kind].target is LABELS]
        advice = f"choose from {', '.join(with_classes)}" if with_classes else "choose a task of kind segmentation"
        raise SettingsError(f"tasks.{task}: a task of kind {job.kind} has no classes; {advice}")
    manifest = settings.layout.manifest(job.data)
    if job.dataset.root is None and not manifest.exists():
        raise DataError(f"{manifest}: is missing; `{making_command(manifest)}` makes it with the data set")
    dataset = open_dataset(job.dataset, manifest.parent, Limits(job.max_megapixels))
    by_split = dataset.annotated(job.splits.values(), ())
    annotated = total(by_split) if by_split else None
    categories = {name: group for name, group in dataset.categories.items() if name != BACKGROUND}
    pictures = pictures_by_categories(dataset, job, list(categories), Digests(dataset.root, manifest))
    counts = []
    for name in dict.fromkeys([*categories, *categories.values()]):
        members, _ = members_of(name, categories, annotated)
        if name != BACKGROUND and (name in categories or len(members) > 1):
            numbers = {split: number_with(members, counter) for split, counter in pictures.items()}
            counts.append(ClassCount(name, tuple(members), numbers["train"], numbers["val"]))
    return counts


def number_with(members: Sequence[str], pictures: Counter[frozenset[str]]) -> int:
    """Return the number of pictures that contain one of the categories ``members``."""
    return sum(number for contained, number in pictures.items() if contained.intersection(members))


def pictures_by_categories(
    dataset: DatasetReader, job: PreparationJob, categories: Sequence[str], digests: Digests
) -> dict[str, Counter[frozenset[str]]]:
    """Return, for each split of a task, the number of pictures by the set of categories that they contain.

    The pictures are those that the preparation uses, with those of ``dev`` in ``train``: broken pictures, copies of
    training pictures in val, and pictures above the limit `images` are left out.

    Raises:
        DataError: a split does not exist, or has too many broken pictures or no usable one.
    """
    earlier = EarlierSplits(digests)
    counters: dict[str, Counter[frozenset[str]]] = {}
    for split, source in job.splits.items():
        listed, limit = dataset.records(source), job.images.get(split)
        records, _ = earlier.without_copies(listed)
        location = f"{dataset.root}: {split} from {source!r}"
        tally = SplitTally(location, len(records), len(listed), job.broken_share)
        counters[split] = Counter()
        read = partial(categories_in, dataset, categories=categories, limits=Limits(job.max_megapixels))
        for _, contained in usable(sampling_order(records, limit), read, tally):
            counters[split][contained] += 1
            if tally.used == limit:
                break
        tally.check_usable()
        earlier.add(split, tally)
    return counters


def categories_in(
    dataset: DatasetReader, record: Record, *, categories: Sequence[str], limits: Limits
) -> frozenset[str]:
    """Return the categories that have a pixel in the label map of a picture, before the map is resized.

    Raises:
        DataError: the picture or its labels cannot be read.
    """
    contained: set[str] = set()
    for start in range(0, len(categories), MAX_LABELS):
        names = (BACKGROUND, *categories[start : start + MAX_LABELS])
        classes = Classes(names, {name: label for label, name in enumerate(names) if label})
        labels = dataset.read(record, SampleSpec(SIDE, LABELS, classes, limits)).labels
        assert labels is not None
        counts = np.bincount(labels.map.ravel(), minlength=256)
        contained.update(name for label, name in enumerate(names) if label and counts[label])
    return frozenset(contained)


def tables(counts: Sequence[ClassCount], minimum: MinimumCounts) -> str:
    """Return a table of the categories and a table of the supercategories, if there are any.

    The rows are sorted by their numbers of training pictures and of validation pictures, largest first.
    """
    ordered = sorted(counts, key=lambda count: (-count.train, -count.val, count.name))
    width = max(len(text) for text in ("supercategory", *(count.name for count in counts)))
    blocks = []
    for heading, are_groups in (("category", False), ("supercategory", True)):
        rows = [
            f"{count.name:<{width}}  {count.train:>17}  {count.val:>19}  {'yes' if minimum.is_met(count) else 'no'}"
            for count in ordered
            if count.is_group is are_groups
        ]
        header = f"{heading:<{width}}  training pictures  validation pictures  enough"
        blocks += ["\n".join([header, *rows])] if rows else []
    return "\n\n".join(blocks)


def classes_yaml(counts: Sequence[ClassCount], minimum: MinimumCounts) -> str:
    """Return the setting `classes` with the names that have enough pictures, as YAML in the order of ``counts``.

    A category can be in one class only. A supercategory is therefore a comment if one of its members is a class.
    Names beyond the `MAX_LABELS` with the most training pictures are comments too.
    """
    kept = [count for count in counts if minimum.is_met(count)]
    if not kept:
        return (
            f"# no category is in at least {minimum.train} training and {minimum.val} validation pictures; lower "
            "--min-train or --min-val, or put several categories into one class"
        )
    single = {count.name for count in kept if not count.is_group}
    possible = [count for count in kept if not count.is_group or single.isdisjoint(count.members)]
    possible.sort(key=lambda count: -count.train)
    surplus = {count.name for count in possible[MAX_LABELS:]}
    lines = ["classes:"]
    for count in kept:
        entry = yaml.safe_dump(
            {class_name(count.name): [count.name]}, default_flow_style=None, allow_unicode=True, width=10**6
        ).strip()
        replaced = [member for member in count.members if member in single] if count.is_group else []
        if replaced:
            entry = f"# {entry} # in place of {', '.join(replaced)}"
        elif count.name in surplus:
            entry = f"# {entry} # in place of another: a task has at most {MAX_LABELS} classes"
        lines.append(f"  {entry}")
    return "\n".join(lines)


def class_name(category: str) -> str:
    """Return a category's name with a hyphen in place of each character that `ClassName` refuses."""
    return re.sub(r"[^\w .:/-]", "-", category)
