"""Selection of the pictures of a split: no copies across splits, a maximum number, few broken pictures, `dev`.

A copy of a picture is the same file or a file of equal content; a copy of a pair has an equal input and target.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from palimpsest.data.files import real_paths
from palimpsest.data.manifest import FileDigest
from palimpsest.data.pictures import Record
from palimpsest.errors import DataError

LeftOut = tuple[Record, str, str]
"""Excluded record, kind of the reason (``broken``, ``refused`` or ``copy``), and reason."""

Files = tuple[Path, Path]
"""Picture and target of a record."""

MIN_EXAMINED = 100
"""Minimum number of pictures to read before too many broken ones stop the preparation of a split."""


@dataclass
class SplitTally:
    """Pictures of one split while it is prepared: available, examined, used and excluded."""

    location: str
    """Data set and split, for messages."""
    available: int
    """Number of pictures that may be used: those listed, without copies and without pictures of earlier splits."""
    listed: int
    """Number of pictures in the split of the data set."""
    max_broken_share: float
    """Maximum fraction of broken pictures."""
    names_settings: bool = True
    """True if messages may advise to change settings of `params.yaml`."""
    used: int = 0
    """Number of prepared pictures."""
    examined_records: list[Record] = field(default_factory=list)
    """Records that were read or tried, including excluded ones."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Excluded records, with the kinds ``broken`` and ``refused``."""

    def count(self, kind: str) -> int:
        """Return the number of excluded records of a kind, ``refused`` or ``broken``."""
        return sum(entry_kind == kind for _, entry_kind, _ in self.left_out)

    def leave_out(self, record: Record, kind: str, reason: str) -> None:
        """Add an excluded record; ``kind`` is ``refused`` or ``broken``.

        Raises:
            DataError: at least `MIN_EXAMINED` records were examined, and the number of broken ones already exceeds
                the limit for all available pictures.
        """
        self.left_out.append((record, kind, reason))
        if kind == "broken" and len(self.examined_records) >= MIN_EXAMINED:
            self._check_share(self.available)

    def check_usable(self) -> None:
        """Check, after the last picture, that the split has usable pictures and not too many broken ones.

        Raises:
            DataError: the split has no picture, no usable picture, or too many broken pictures.
        """
        self._check_share(len(self.examined_records))
        if not self.available:
            reason = f"all {self.listed} are also in an earlier split" if self.listed else "the split is empty"
            advice = "change the task's splits or images" if self.names_settings else "add pictures"
            raise DataError(f"{self.location}: no pictures ({reason}); {advice}")
        if not self.used:
            reason = "".join(f"; {record.source}: {reason}" for record, _, reason in self.left_out[:1])
            raise DataError(f"{self.location}: none of {self.available} pictures can be used; correct them{reason}")

    def _check_share(self, total: int) -> None:
        broken = [reason for _, kind, reason in self.left_out if kind == "broken"]
        if len(broken) > self.max_broken_share * total:
            prefix = "the first " if len(self.examined_records) < self.available else ""
            advice = (
                "correct them, or raise pictures.broken_share" if self.names_settings else "correct or remove them"
            )
            raise DataError(
                f"{self.location}: {len(broken)} of {prefix}{len(self.examined_records)} pictures are broken, and "
                f"the limit is {self.max_broken_share:.1%}; {advice}: {'; '.join(broken[:3])}"
            )


class EarlierSplits:
    """Pictures or pairs that the earlier splits of a task examined; recognises copies in later splits."""

    def __init__(self, digests: FileDigest) -> None:
        self._digests = digests
        self._names: set[Files] = set()
        self._paths: dict[tuple[str, str], str] = {}
        self._contents: dict[tuple[str, str], str] = {}
        self._not_hashed: list[tuple[Record, str]] = []
        """Records whose content is not hashed yet, with their names in messages."""

    def without_copies(self, records: list[Record]) -> tuple[list[Record], list[LeftOut]]:
        """Return the records that are no copies, and the excluded copies, each with the name of its original.

        An original is an earlier record of the same list, or a record that an earlier split examined. Records that
        an earlier split examined under the same name are in neither list, because two prepared splits may be taken
        from one split of the data set.
        """
        new = [record for record in records if _files(record) not in self._names]
        unique: list[Record] = []
        copies: list[LeftOut] = []
        source_by_paths: dict[tuple[str, str], str] = {}
        for record, paths in zip(new, _real_files(new), strict=True):
            original = None
            if not record.fault:  # a fault is reported as such
                original = source_by_paths.get(paths) or self._paths.get(paths) or self._original_of(record)
                source_by_paths.setdefault(paths, record.source)
            if original is None:
                unique.append(record)
            else:
                kind = "pair" if record.target else "picture"
                copies.append((record, "copy", f"the same {kind} as {original}"))
        return unique, copies

    def add(self, split: str, tally: SplitTally) -> None:
        """Add the examined records of a prepared split; broken files, as empty ones, do not count as originals.

        The content of a file is hashed only when a later split needs the hash.
        """
        broken = {id(record) for record, kind, _ in tally.left_out if kind == "broken"}
        for record, paths in zip(tally.examined_records, _real_files(tally.examined_records), strict=True):
            self._names.add(_files(record))
            if id(record) not in broken:
                self._paths.setdefault(paths, f"{record.source} in {split}")
                self._not_hashed.append((record, f"{record.source} in {split}"))

    def _original_of(self, record: Record) -> str | None:
        for earlier, name in self._not_hashed:
            if (content := self._content(earlier)) is not None:
                self._contents.setdefault(content, name)
        self._not_hashed = []
        if not self._contents:
            return None
        content = self._content(record)
        return self._contents.get(content) if content else None

    def _content(self, record: Record) -> tuple[str, str] | None:
        """Return the SHA-256 of picture and target of a record; None if a file cannot be read."""
        picture = self._digests(record.picture)
        target = self._digests(record.target) if picture and record.target else picture
        return (picture, target) if picture and target else None


class DevSelection:
    """Pictures of the split ``train`` that are kept apart as the split ``dev``, on which settings are chosen.

    The SHA-256 of a picture's file decides, so that copies of a picture, also those of other tasks, are all in
    ``dev`` or all in ``train``. The selection depends neither on the other pictures nor on the number used.
    """

    def __init__(self, records: list[Record], share: float, digests: FileDigest) -> None:
        """Select about the fraction ``share`` of the pictures; none if all of them would be selected."""
        bound = round(share * 16**8)
        selected = {record.picture for record in records if bound and _below(digests(record.picture), bound)}
        self._pictures = selected if any(record.picture not in selected for record in records) else set()

    def __contains__(self, record: Record) -> bool:
        return record.picture in self._pictures


def _below(digest: str | None, bound: int) -> bool:
    """Return whether the first 32 bits of a hexadecimal digest are a number below ``bound``."""
    return digest is not None and int(digest[:8], 16) < bound


def _files(record: Record) -> Files:
    """Return the files of picture and target; the picture twice if the target is no file of its own."""
    return record.picture, record.target or record.picture


def _real_files(records: list[Record]) -> Iterator[tuple[str, str]]:
    """Yield the files of each record (`_files`) with links resolved (`real_paths`)."""
    targets = real_paths(record.target or record.picture for record in records)
    return zip(real_paths(record.picture for record in records), targets, strict=True)


def sampling_order(records: list[Record], limit: int | None) -> list[Record]:
    """Return the records in the order of use: unchanged, or by a hash of their names if ``limit`` excludes some."""
    if limit is None or limit >= len(records):
        return records
    return sorted(records, key=lambda record: hashlib.sha256(record.source.encode()).digest())
