"""From a data set to prepared arrays: read, resize, paint label maps; leave out and name what is broken."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from palimpsest.data.arrays import Target, write_prepared
from palimpsest.data.files import real_paths
from palimpsest.data.manifest import Digests
from palimpsest.data.paired import Findings
from palimpsest.data.pictures import USUAL, Frame, Limits, Pixels, Record, read_scaled, resize_and_crop
from palimpsest.errors import DataError, SettingsError, nearest

BACKGROUND = "background"

Reader = Callable[[Record], tuple[Pixels, Pixels | None]]
"""Reads one photograph and its target at the final size."""


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


def class_mapping(
    classes: Mapping[str, Sequence[str]] | None, categories: Mapping[str, str]
) -> tuple[list[str], dict[str, int]]:
    """Class names, background first, and the label of each category that belongs to one.

    ``classes`` lists categories by class; the name of a supercategory stands for all its members. Without it
    each category is a class of its own.

    Raises:
        SettingsError: a name that is no category (with the nearest one that is), a category in two classes,
            no category in a class, a class named background, or more than 254 classes.
    """
    if classes is None:
        classes = {name: [name] for name in categories}
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
            belonging = (
                [member] if member in categories else [c for c, group in categories.items() if group == member]
            )
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
    equal content (``digests``), is left out of a later one. Within a split each real file counts once, and the
    first record stays; files of equal content are taken as they come.

    A photograph for which ``refuse`` has a reason (it sees the finished picture) is left out, and
    so is a broken one; each is counted, listed in `info.json` and logged, and another comes in its place.

    Raises:
        DataError: more than ``max_broken_share`` of a split's photographs are broken, or none of them can be
            used; names files. Nothing is written then.
    """
    read = _reader(dataset, size, target, classes, limits)
    taken = _Taken(digests or Digests(dataset.root))
    splits_info: dict[str, object] = {}
    pairs_info: dict[str, object] = {}
    left_out: list[dict[str, str]] = []
    with write_prepared(folder, size, target) as rows:
        for split, (source, limit) in splits.items():
            listed = dataset.records(source)
            records, copies = taken.without_copies(listed)
            looks = _Looks(f"{dataset.root}: {split} from {source!r}", len(records), len(listed), max_broken_share)
            for record, picture, wanted in _usable(_drawn(records, limit), read, refuse, looks):
                rows.add(split, record.source, picture, wanted)
                if looks.used == limit:
                    break
            looks.check()
            for record, kind, reason in [*looks.left_out, *copies]:
                reason_anywhere = reason.replace(f"{dataset.root}{os.sep}", "")
                left_out.append({"split": split, "source": record.source, "kind": kind, "reason": reason_anywhere})
                log(f"{split}: {record.source} left out, {kind}: {reason_anywhere}")
            taken.add(split, looks)
            counts = {
                "pictures": looks.used,
                "refused": looks.count("refused"),
                "broken": looks.count("broken"),
            }
            if copies:
                counts["copies"] = len(copies)
            splits_info[split] = {"from": source, **counts}
            log(f"{split}: " + ", ".join(f"{number} {what}" for what, number in counts.items()))
            if isinstance(dataset, PairSource):
                findings = dataset.take_findings()
                pairs_info[split] = findings.info
                for line in findings.lines:
                    log(f"{split}: {line}")
        names = list(classes.names) if classes else None
        rows.info |= {"splits": splits_info, "left_out": left_out, "classes": names}
        if pairs_info:
            rows.info["pairs"] = pairs_info


LeftOut = tuple[Record, str, str]
"""A record, the kind of reason (``broken``, ``refused`` or ``copy``) and the reason."""


class _Taken:
    """Photographs of the splits so far, by name, by real path and by content."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._names: set[Path] = set()
        self._files: dict[str, str] = {}
        self._contents: dict[str, str] = {}

    def without_copies(self, records: list[Record]) -> tuple[list[Record], list[LeftOut]]:
        """Return the records that are new, and those that are copies under another name.

        A record under a name that an earlier split took is neither: two splits may share one source.
        """
        new = [record for record in records if record.picture not in self._names]
        kept: list[Record] = []
        copies: list[LeftOut] = []
        here: dict[tuple[str, str], str] = {}
        pictures = real_paths(record.picture for record in new)
        targets = real_paths(record.target or record.picture for record in new)
        for record, picture, target in zip(new, pictures, targets, strict=True):
            twin = None
            if not record.fault:  # which is reported
                twin = here.get((picture, target)) or self._files.get(picture) or self._twin(record)
                here.setdefault((picture, target), record.source)
            if twin is None:
                kept.append(record)
            else:
                copies.append((record, "copy", f"the same picture as {twin}"))
        return kept, copies

    def add(self, split: str, looks: "_Looks") -> None:
        """Note what a split has looked at; broken files of one content, as empty ones, are no copies."""
        broken = {id(record) for record, kind, _ in looks.left_out if kind == "broken"}
        for record, real in zip(looks.seen, real_paths(record.picture for record in looks.seen), strict=True):
            self._names.add(record.picture)
            if id(record) not in broken:
                self._files.setdefault(real, f"{record.source} in {split}")
                if (digest := self._digests(record.picture)) is not None:
                    self._contents.setdefault(digest, f"{record.source} in {split}")

    def _twin(self, record: Record) -> str | None:
        if not self._contents:
            return None
        digest = self._digests(record.picture)
        return self._contents.get(digest) if digest else None


ENOUGH = 100
"""Photographs that are looked at before too many broken ones end the work, so that the message can say how many."""


@dataclass
class _Looks:
    """The photographs of one split that were looked at."""

    where: str
    available: int
    listed: int
    """With those that other splits have."""
    max_broken_share: float
    used: int = 0
    seen: list[Record] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """Return how many were left out as ``refused`` or ``broken``."""
        return sum(which == kind for _, which, _ in self.left_out)

    def leave_out(self, record: Record, kind: str, reason: str) -> None:
        """Note it; stop after `ENOUGH` when no number of good ones could make up for the broken ones."""
        self.left_out.append((record, kind, reason))
        if kind == "broken" and len(self.seen) >= ENOUGH:
            self._check_share(self.available)

    def check(self) -> None:
        """Raise `DataError` where the split cannot be used."""
        self._check_share(len(self.seen))
        if not self.available:
            why = f"all {self.listed} are in an earlier split too" if self.listed else "the split is empty"
            raise DataError(
                f"{self.where}: there are no pictures that no other split has ({why}); "
                "change the task's splits or images"
            )
        if not self.used:
            why = "".join(f"; {record.source}: {reason}" for record, _, reason in self.left_out[:1])
            raise DataError(f"{self.where}: none of {self.available} pictures can be used{why}")

    def _check_share(self, of: int) -> None:
        broken = [reason for _, kind, reason in self.left_out if kind == "broken"]
        if len(broken) > self.max_broken_share * of:
            first = "the first " if len(self.seen) < self.available else ""
            raise DataError(
                f"{self.where}: {len(broken)} of {first}{len(self.seen)} pictures are broken, and "
                f"{self.max_broken_share:.1%} may be; mend or remove them, or raise pictures.broken_share: "
                f"{'; '.join(broken[:3])}"
            )


def _drawn(records: list[Record], limit: int | None) -> list[Record]:
    if limit is None or limit >= len(records):
        return records
    return sorted(records, key=lambda record: hashlib.sha256(record.source.encode()).digest())


def _usable(
    records: list[Record], read: Reader, refuse: Callable[[Pixels], str | None], looks: _Looks
) -> Iterator[tuple[Record, Pixels, Pixels | None]]:
    """Yield the photographs that can be used; note in ``looks`` which cannot, and why."""
    for record in tqdm(records, unit=" pictures", disable=None, leave=False):
        looks.seen.append(record)
        try:
            if record.fault:
                raise DataError(f"{record.picture}: {record.fault}")
            picture, target = read(record)
        except DataError as error:
            looks.leave_out(record, "broken", str(error))
            continue
        reason = refuse(picture)
        if reason:
            looks.leave_out(record, "refused", reason)
            continue
        looks.used += 1
        yield record, picture, target


def _reader(dataset: PictureSource, size: int, target: Target, classes: Classes | None, limits: Limits) -> Reader:
    """Return the reader of a photograph and its target at the final size, chosen once for the whole data set."""
    if target == "labels":
        if not isinstance(dataset, LabelSource) or classes is None:
            raise DataError(f"{dataset.root}: not a data set with a class per pixel")
        source, mapping = dataset, classes

        def labelled(record: Record) -> tuple[Pixels, Pixels]:
            picture, frame = read_scaled(record.picture, size, limits)
            labels = source.label_map(record, mapping.class_of, mapping.other, frame)
            return picture, resize_and_crop(labels, size, labels=True)

        return labelled
    if target == "picture":
        if not isinstance(dataset, PairSource):
            raise DataError(f"{dataset.root}: not a data set of pairs")
        pairs = dataset

        def paired(record: Record) -> tuple[Pixels, Pixels]:
            picture, wanted = pairs.pair(record)
            return resize_and_crop(picture, size, labels=False), resize_and_crop(wanted, size, labels=False)

        return paired
    return lambda record: (read_scaled(record.picture, size, limits)[0], None)
