"""The choice of the photographs of a split: no copies across splits, a limit, and not too many broken ones.

A copy of a photograph is the same file or one of equal content; a copy of a pair has the same input and target.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from palimpsest.data.files import real_paths
from palimpsest.data.manifest import Digests
from palimpsest.data.pictures import Record
from palimpsest.errors import DataError

LeftOut = tuple[Record, str, str]
"""A record, the kind of reason (``broken``, ``refused`` or ``copy``) and the reason."""

Files = tuple[Path, Path]
"""Picture and target of a record."""

ENOUGH = 100
"""Photographs that are read before too many broken ones end the work, so that the message can say how many."""


@dataclass
class SplitTally:
    """Photographs of one split, with counts of those read and left out."""

    where: str
    available: int
    listed: int
    """Number with the photographs that other splits have."""
    max_broken_share: float
    used: int = 0
    seen: list[Record] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """Return how many were left out as ``refused`` or ``broken``."""
        return sum(which == kind for _, which, _ in self.left_out)

    def leave_out(self, record: Record, kind: str, reason: str) -> None:
        """Note a record; stop after `ENOUGH` when good ones cannot make up for the broken ones any more."""
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


class EarlierSplits:
    """Photographs or pairs of the splits so far, by name, by real path and by content."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._names: set[Files] = set()
        self._paths: dict[tuple[str, str], str] = {}
        self._contents: dict[tuple[str, str], str] = {}
        self._not_hashed: list[tuple[Record, str]] = []
        """Records whose content a later split may be compared with, and how a message names them."""

    def without_copies(self, records: list[Record]) -> tuple[list[Record], list[LeftOut]]:
        """Return the records that are new, and those that are copies under another name.

        A record under a name that an earlier split took is neither: two splits may share one source.
        """
        new = [record for record in records if _files(record) not in self._names]
        kept: list[Record] = []
        copies: list[LeftOut] = []
        here: dict[tuple[str, str], str] = {}
        for record, paths in zip(new, _real_files(new), strict=True):
            twin = None
            if not record.fault:  # which is reported
                twin = here.get(paths) or self._paths.get(paths) or self._twin(record)
                here.setdefault(paths, record.source)
            if twin is None:
                kept.append(record)
            else:
                kind = "pair" if record.target else "picture"
                copies.append((record, "copy", f"the same {kind} as {twin}"))
        return kept, copies

    def add(self, split: str, tally: SplitTally) -> None:
        """Note the records that a split has read; broken files of one content, as empty ones, are no copies.

        The content is hashed when a later split asks for copies.
        """
        broken = {id(record) for record, kind, _ in tally.left_out if kind == "broken"}
        for record, paths in zip(tally.seen, _real_files(tally.seen), strict=True):
            self._names.add(_files(record))
            if id(record) not in broken:
                self._paths.setdefault(paths, f"{record.source} in {split}")
                self._not_hashed.append((record, f"{record.source} in {split}"))

    def _twin(self, record: Record) -> str | None:
        for earlier, name in self._not_hashed:
            if (content := self._content(earlier)) is not None:
                self._contents.setdefault(content, name)
        self._not_hashed = []
        if not self._contents:
            return None
        content = self._content(record)
        return self._contents.get(content) if content else None

    def _content(self, record: Record) -> tuple[str, str] | None:
        """Return the digests of the files of a record, None where one cannot be read."""
        picture = self._digests(record.picture)
        target = self._digests(record.target) if picture and record.target else picture
        return (picture, target) if picture and target else None


def _files(record: Record) -> Files:
    """Return picture and target; a photograph and a file with both halves stand for both."""
    return record.picture, record.target or record.picture


def _real_files(records: list[Record]) -> Iterator[tuple[str, str]]:
    """Yield the real paths of `_files` of each record."""
    targets = real_paths(record.target or record.picture for record in records)
    return zip(real_paths(record.picture for record in records), targets, strict=True)


def drawn(records: list[Record], limit: int | None) -> list[Record]:
    """Return the records in the order in which they are taken: by a hash of their names where not all are."""
    if limit is None or limit >= len(records):
        return records
    return sorted(records, key=lambda record: hashlib.sha256(record.source.encode()).digest())
