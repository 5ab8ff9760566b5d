"""From a data set to prepared arrays: read, resize, paint label maps; leave out and name what is broken."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from palimpsest.data.arrays import Target, write_prepared
from palimpsest.data.categories import members_of
from palimpsest.data.census import Census, Labels
from palimpsest.data.manifest import Digests
from palimpsest.data.paired import Findings
from palimpsest.data.pictures import USUAL, Frame, Limits, Pixels, Record, read_scaled, resize_and_crop
from palimpsest.data.selection import EarlierSplits, LeftOut, SplitTally, drawn
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

    def pair(self, record: Record) -> tuple[Pixels, Pixels]:
        """Return input and target, uint8 (H, W, 3) each."""

    def take_findings(self) -> Findings:
        """Return what was found in the pairs read since the last call."""


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
            no category in a class, a class named background, or more than 254 classes.
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
            belonging, _ = members_of(member, categories, annotated)
            if not belonging:
                raise SettingsError(f"classes.{name}: there is no category {member!r}{nearest(member, known)}")
            for category in belonging:
                if class_of.setdefault(category, label) != label:
                    raise SettingsError(f"classes.{name}: {category!r} is in {names[class_of[category]]!r} already")
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
    limits: Limits = USUAL,
    digests: Digests | None = None,
) -> None:
    """Write the prepared arrays of one task to ``folder`` (see `palimpsest.data.arrays`).

    ``splits`` has, by prepared split, the data set's split to take it from and how many photographs at most
    (None for all). Where that is not all of them, they are drawn by a hash of their names: the same ones each
    time, from all over the data set, and a higher limit only adds to them.

    No photograph is in two splits: what an earlier split looked at, under any name (`real_paths`) or as a file of
    equal content (``digests``), is left out of a later one; of pairs, inputs and targets both have to be equal.
    Within a split each real file counts once, and the first record stays; files of equal content are taken as they
    come.

    A photograph for which ``refuse`` has a reason (it sees the finished picture) is left out, and
    so is a broken one; each is counted, listed in `info.json` and logged, and another comes in its place.

    Of label maps the share of each class is recorded, and annotations that cannot be painted are counted, listed
    and logged; their photographs are used.

    Raises:
        DataError: more than ``max_broken_share`` of a split's photographs are broken or of its annotations cannot
            be painted, none of the photographs can be used, or a class has no pixel in a split; names files.
            Nothing is written then.
    """
    read = _reader(dataset, size, target, classes, limits)
    taken = EarlierSplits(digests or Digests(dataset.root))
    with write_prepared(folder, size, target) as rows:
        rows.info |= {"classes": list(classes.names) if classes else None, "left_out": []}
        for split, (source, limit) in splits.items():
            listed = dataset.records(source)
            records, copies = taken.without_copies(listed)
            where = f"{dataset.root}: {split} from {source!r}"
            tally = SplitTally(where, len(records), len(listed), max_broken_share)
            census = Census(where, classes.names if classes else ())
            available = 0
            if target == "labels" and isinstance(dataset, AnnotationSource):
                available = dataset.count_annotations(source)
            used: list[Record] = []
            for record, picture, wanted, labels in _usable(drawn(records, limit), read, refuse, tally):
                rows.add(split, record.source, picture, wanted)
                used.append(record)
                if labels is not None and wanted is not None:
                    census.add(wanted, labels)
                    if labels.faults:
                        census.check_annotations(max_broken_share, available)
                if tally.used == limit:
                    break
            tally.check()
            if target == "labels" and classes is not None:
                census.check_annotations(max_broken_share)
                census.check_classes(partial(_contents, dataset, used, classes))
                _note_labels(rows.info, split, census, log)
            taken.add(split, tally)
            _note_pictures(rows.info, (split, source), tally, copies, dataset.root, log)
            if isinstance(dataset, PairSource):
                _note_pairs(rows.info, split, dataset.take_findings(), log)


def _note_pictures(
    info: dict[str, Any],
    splits: tuple[str, str],
    tally: SplitTally,
    copies: list[LeftOut],
    root: Path,
    log: Callable[[str], None],
) -> None:
    """Log and record how many photographs of a split are used, and which are left out and why.

    ``splits`` are the prepared split and the data set's split that it is taken from.
    """
    split, source = splits
    for record, kind, reason in [*tally.left_out, *copies]:
        reason_anywhere = reason.replace(f"{root}{os.sep}", "")
        entry = {"split": split, "source": record.source, "kind": kind, "reason": reason_anywhere}
        info["left_out"].append(entry)
        log(f"{split}: {record.source} left out, {kind}: {reason_anywhere}")
    counts = {"pictures": tally.used, "refused": tally.count("refused"), "broken": tally.count("broken")}
    if copies:
        counts["copies"] = len(copies)
    info.setdefault("splits", {})[split] = {"from": source, **counts}
    log(f"{split}: " + ", ".join(f"{number} {what}" for what, number in counts.items()))


def _note_labels(info: dict[str, Any], split: str, census: Census, log: Callable[[str], None]) -> None:
    """Log and record the shares of the classes, and the annotations that cannot be painted."""
    info.setdefault("labels", {})[split] = census.info()
    info.setdefault("faulty_annotations", []).extend(census.listed(split))
    for line in census.lines():
        log(f"{split}: {line}")


def _note_pairs(info: dict[str, Any], split: str, findings: Findings, log: Callable[[str], None]) -> None:
    """Log and record what was found in the pairs of a split."""
    info.setdefault("pairs", {})[split] = findings.info
    for line in findings.lines:
        log(f"{split}: {line}")


def _contents(dataset: PictureSource, records: list[Record], classes: Classes, names: list[str]) -> str:
    return dataset.contents(records, classes.members(names)) if isinstance(dataset, DescribedSource) else ""


def _usable(
    records: list[Record], read: Reader, refuse: Callable[[Pixels], str | None], tally: SplitTally
) -> Iterator[tuple[Record, Pixels, Pixels | None, Labels | None]]:
    """Yield the photographs that can be used, one after the other; note in ``tally`` which cannot, and why."""
    for record in tqdm(records, unit=" pictures", disable=None, leave=False):
        tally.seen.append(record)
        try:
            if record.fault:
                raise DataError(f"{record.picture}: {record.fault}")
            picture, target, labels = read(record)
        except DataError as error:
            tally.leave_out(record, "broken", str(error))
            continue
        reason = refuse(picture)
        if reason:
            tally.leave_out(record, "refused", reason)
            continue
        tally.used += 1
        yield record, picture, target, labels


def _reader(dataset: PictureSource, size: int, target: Target, classes: Classes | None, limits: Limits) -> Reader:
    """Return the reader of a photograph and its target at the final size, chosen once for the whole data set."""
    if target == "labels":
        if not isinstance(dataset, LabelSource) or classes is None:
            raise DataError(f"{dataset.root}: not a data set with a class per pixel")
        source, mapping = dataset, classes

        def labelled(record: Record) -> tuple[Pixels, Pixels, Labels]:
            picture, frame = read_scaled(record.picture, size, limits)
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
            picture, wanted = pairs.pair(record)
            return resize_and_crop(picture, size, labels=False), resize_and_crop(wanted, size, labels=False), None

        return paired
    return lambda record: (read_scaled(record.picture, size, limits)[0], None, None)
