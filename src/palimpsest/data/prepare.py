"""From a data set to prepared arrays: read, resize, paint label maps; leave out and name what is broken."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from palimpsest.data.arrays import Target, write_prepared
from palimpsest.data.categories import members_of, refuse_twins
from palimpsest.data.census import Census, Labels
from palimpsest.data.pictures import Frame, Pixels, Record, read_scaled, resize_and_crop
from palimpsest.errors import DataError, SettingsError, nearest

BACKGROUND = "background"

Reader = Callable[[Record], tuple[Pixels, Pixels | None, Labels | None]]
"""Reads one photograph and its target at the final size; a label map also as it was before."""


class PictureSource(Protocol):
    """A data set: photographs in splits."""

    root: Path

    def records(self, split: str) -> list[Record]:
        """The photographs of a split, always in the same order."""


@runtime_checkable
class LabelSource(PictureSource, Protocol):
    """A data set with a class per pixel: `CocoFolder`, `VocFolder`."""

    @property
    def categories(self) -> dict[str, str]:
        """Supercategory by category name."""

    def label_map(
        self, record: Record, class_of: Mapping[str, int], other: int, frame: Frame | None = None
    ) -> Pixels:
        """The class of each pixel, uint8 (H, W), in the orientation the photograph is shown in."""


@runtime_checkable
class AnnotationSource(LabelSource, Protocol):
    """A data set whose label maps are painted from annotations: `CocoFolder`."""

    def read_labels(
        self, record: Record, class_of: Mapping[str, int], other: int, frame: Frame | None = None
    ) -> Labels:
        """Return the label map with the annotations that could not be painted as they were meant."""

    def count_annotations(self, split: str) -> int:
        """Return the number of all annotations of a split."""


@runtime_checkable
class DescribedSource(Protocol):
    """A data set that describes its files where a class has no pixel: `CocoFolder`, `VocFolder`."""

    def contents(self, records: Sequence[Record], categories: Sequence[str]) -> str:
        """Describe the labels of these photographs; ``categories`` are those without a pixel."""


@runtime_checkable
class PairSource(PictureSource, Protocol):
    """A data set with a target picture beside each picture: `PairedFolder`."""

    def picture(self, record: Record) -> Pixels:
        """What goes in, uint8 (H, W, 3)."""

    def target(self, record: Record) -> Pixels:
        """What shall come out, uint8 (H, W, 3)."""


@dataclass(frozen=True)
class Classes:
    """Which categories of a data set make up which class."""

    names: tuple[str, ...]
    """By label; the first is the background."""

    class_of: Mapping[str, int]
    """Label by category name."""

    other: int = 0
    """What pixels of all other categories get: 0 background, 255 ignored."""

    notes: tuple[str, ...] = ()
    """Lines for the log: names that could mean several categories, and which of them is read."""

    def members(self, names: Sequence[str]) -> list[str]:
        """Return the categories of these classes."""
        labels = {self.names.index(name) for name in names}
        return [category for category, label in self.class_of.items() if label in labels]


def class_mapping(
    classes: Mapping[str, Sequence[str]] | None,
    categories: Mapping[str, str],
    annotated: Mapping[str, int] | None = None,
) -> tuple[list[str], dict[str, int]]:
    """Return the class names, background first, and the label of each category that belongs to a class.

    ``classes`` lists categories by class; the name of a supercategory stands for all its members; see
    `members_of`. Without it each category is a class of its own. ``annotated`` counts annotations by category.

    Raises:
        SettingsError: a name that is no category (with the nearest one that is), a category in two classes,
            no category in a class, a class named background, more than 254 classes, or a category in a class
            and a second one, annotated and in no class, that differs from it by capitals and spaces alone.
    """
    if classes is None:
        classes, annotated = {name: [name] for name in categories}, None
    known = sorted({*categories, *categories.values()})
    names = [BACKGROUND, *classes]
    if BACKGROUND in classes:
        raise SettingsError(f"classes.{BACKGROUND}: this is what belongs to no class, and class 0 already")
    if len(names) > 255:
        raise SettingsError(f"classes: {len(classes)} classes, but a label map has room for 254")
    class_of: dict[str, int] = {}
    for label, (name, members) in enumerate(classes.items(), start=1):
        if not members:
            raise SettingsError(f"classes.{name}: no category is listed")
        for member in members:
            belonging, _ = members_of(unicodedata.normalize("NFC", member), categories, annotated)
            if not belonging:
                raise SettingsError(f"classes.{name}: there is no category {member!r}{nearest(member, known)}")
            for category in belonging:
                if class_of.setdefault(category, label) != label:
                    raise SettingsError(f"classes.{name}: {category!r} is in {names[class_of[category]]!r} already")
    if annotated is not None:
        refuse_twins(names, class_of, annotated)
    return names, class_of


def prepare(
    dataset: PictureSource,
    folder: Path,
    size: int,
    splits: Mapping[str, tuple[str, int | None]],
    *,
    target: Target,
    refuse: Callable[[Pixels], str | None],
    log: Callable[[str], None],
    classes: Classes | None = None,
    max_broken_share: float = 0.01,
) -> None:
    """Writes the prepared arrays of one task to ``folder`` (see `palimpsest.data.arrays`).

    ``splits`` has, by prepared split, the data set's split to take it from and how many photographs at most
    (None for all). Where that is not all of them, they are drawn by a hash of their names: the same ones each
    time, from all over the data set, and a higher limit only adds to them. No photograph is in two splits.

    A photograph for which ``refuse`` has a reason (it sees the finished picture) is left out, and
    so is a broken one; each is counted, listed in `info.json` and logged, and another comes in its place.

    Of label maps the share of each class is recorded, and annotations that cannot be painted are counted, listed
    and logged; their photographs are used.

    Raises:
        DataError: more than ``max_broken_share`` of a split's photographs are broken or of its annotations cannot
            be painted, none of the photographs can be used, or a class has no pixel in a split; names files.
            Nothing is written then.
    """
    read = _reader(dataset, size, target, classes)
    taken: set[Path] = set()
    splits_info: dict[str, object] = {}
    left_out: list[dict[str, str]] = []
    labels_info: dict[str, object] = {}
    faulty: list[dict[str, str]] = []
    with write_prepared(folder, size, target) as rows:
        for split, (source, limit) in splits.items():
            records = [record for record in dataset.records(source) if record.picture not in taken]
            looks = _Looks(f"{dataset.root}: {split} from {source!r}", len(records), max_broken_share)
            census = Census(looks.where, classes.names if classes else ())
            available = dataset.count_annotations(source) if isinstance(dataset, AnnotationSource) else 0
            used: list[Record] = []
            for record, picture, wanted, labels in _usable(_drawn(records, limit), read, refuse, looks):
                rows.add(split, record.source, picture, wanted)
                used.append(record)
                if labels is not None and wanted is not None:
                    census.add(wanted, labels)
                    if labels.faults:
                        census.check_annotations(max_broken_share, available)
                if looks.used == limit:
                    break
            looks.check()
            if target == "labels" and classes is not None:
                census.check_annotations(max_broken_share)
                census.check_classes(partial(_contents, dataset, used, classes))
                labels_info[split] = census.info()
                faulty += census.listed(split)
                for fault in census.faults:
                    log(f"{split}: {fault}")
            for record, kind, reason in looks.left_out:
                reason_anywhere = reason.replace(f"{dataset.root}{os.sep}", "")
                left_out.append({"split": split, "source": record.source, "kind": kind, "reason": reason_anywhere})
                log(f"{split}: {record.source} left out, {kind}: {reason_anywhere}")
            taken |= looks.seen
            counts = {
                "pictures": looks.used,
                "refused": looks.count("refused"),
                "broken": looks.count("broken"),
            }
            splits_info[split] = {"from": source, **counts}
            log(f"{split}: " + ", ".join(f"{number} {what}" for what, number in counts.items()))
        names = list(classes.names) if classes else None
        rows.info |= {"splits": splits_info, "left_out": left_out, "classes": names}
        if target == "labels":
            rows.info |= {"labels": labels_info, "faulty_annotations": faulty}


def _contents(dataset: PictureSource, records: list[Record], classes: Classes, names: list[str]) -> str:
    return dataset.contents(records, classes.members(names)) if isinstance(dataset, DescribedSource) else ""


@dataclass
class _Looks:
    """What has been seen of one split."""

    where: str
    available: int
    max_broken_share: float
    used: int = 0
    seen: set[Path] = field(default_factory=set)
    left_out: list[tuple[Record, str, str]] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """How many were left out as ``refused`` or ``broken``."""
        return sum(which == kind for _, which, _ in self.left_out)

    def leave_out(self, record: Record, kind: str, reason: str) -> None:
        """Notes it; stops at once when no number of good ones could make up for the broken ones."""
        self.left_out.append((record, kind, reason))
        if kind == "broken":
            self._check_share(self.available)

    def check(self) -> None:
        """Raises `DataError` where the split cannot be used."""
        self._check_share(self.used + len(self.left_out))
        if not self.available:
            raise DataError(
                f"{self.where}: there are no pictures that no other split has; change the task's splits or images"
            )
        if not self.used:
            why = "".join(f"; {record.source}: {reason}" for record, _, reason in self.left_out[:1])
            raise DataError(f"{self.where}: none of {self.available} pictures can be used{why}")

    def _check_share(self, looked_at: int) -> None:
        broken = [reason for _, kind, reason in self.left_out if kind == "broken"]
        if len(broken) > self.max_broken_share * looked_at:
            raise DataError(
                f"{self.where}: {len(broken)} of {looked_at} pictures are broken, and "
                f"{self.max_broken_share:.1%} may be; mend or remove them, or raise pictures.broken_share: "
                f"{'; '.join(broken[:3])}"
            )


def _drawn(records: list[Record], limit: int | None) -> list[Record]:
    if limit is None or limit >= len(records):
        return records
    return sorted(records, key=lambda record: hashlib.sha256(record.source.encode()).digest())


def _usable(
    records: list[Record], read: Reader, refuse: Callable[[Pixels], str | None], looks: _Looks
) -> Iterator[tuple[Record, Pixels, Pixels | None, Labels | None]]:
    """Yield the photographs that can be used, one after the other; note in ``looks`` which cannot, and why."""
    for record in tqdm(records, unit=" pictures", disable=None, leave=False):
        looks.seen.add(record.picture)
        try:
            if record.fault:
                raise DataError(f"{record.picture}: {record.fault}")
            picture, target, labels = read(record)
        except DataError as error:
            looks.leave_out(record, "broken", str(error))
            continue
        reason = refuse(picture)
        if reason:
            looks.leave_out(record, "refused", reason)
            continue
        looks.used += 1
        yield record, picture, target, labels


def _reader(dataset: PictureSource, size: int, target: Target, classes: Classes | None) -> Reader:
    """What reads one photograph and its target at the final size; chosen once for the whole data set."""
    if target == "labels":
        if not isinstance(dataset, LabelSource) or classes is None:
            raise DataError(f"{dataset.root}: not a data set with a class per pixel")
        source, mapping = dataset, classes

        def labelled(record: Record) -> tuple[Pixels, Pixels, Labels]:
            picture, frame = read_scaled(record.picture, size)
            if isinstance(source, AnnotationSource):
                labels = source.read_labels(record, mapping.class_of, mapping.other, frame)
            else:
                labels = Labels(source.label_map(record, mapping.class_of, mapping.other, frame))
            return picture, resize_and_crop(labels.map, size, labels=True), labels

        return labelled
    if target == "picture":
        if not isinstance(dataset, PairSource):
            raise DataError(f"{dataset.root}: not a data set of pairs")
        pairs = dataset

        def paired(record: Record) -> tuple[Pixels, Pixels, None]:
            picture, wanted = pairs.picture(record), pairs.target(record)
            _check_shapes(record, picture, wanted)
            return resize_and_crop(picture, size, labels=False), resize_and_crop(wanted, size, labels=False), None

        return paired
    return lambda record: (read_scaled(record.picture, size)[0], None, None)


def _check_shapes(record: Record, picture: Pixels, target: Pixels) -> None:
    """A target may be a larger or smaller picture of the same, but not one of another shape."""
    height, width = picture.shape[:2]
    target_height, target_width = target.shape[:2]
    if abs(height * target_width - width * target_height) > max(height, width, target_height, target_width):
        raise DataError(
            f"{record.picture}: {width}×{height} pixels, but its target is {target_width}×{target_height}"
        )
