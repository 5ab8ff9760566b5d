"""Training pictures from several splits, of one or several data sets, for tasks without targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from palimpsest.data.pictures import Record
from palimpsest.data.reader import DatasetReader, Findings, Sample, SampleSpec, picture_sample


@dataclass(frozen=True)
class Part:
    """Split of a data set whose pictures are added to those of another split."""

    name: str
    """Name of the data set."""
    reader: DatasetReader
    split: str


class JoinedReader(DatasetReader):
    """Reader of the data set ``main`` with one more split, `joined`: the pictures of its split and of ``parts``.

    The source of a record of another data set starts with its name, because two data sets can have equal paths. No
    record has a target, so that a copy of a picture is recognised whether it is part of a pair or not.
    """

    def __init__(self, main: Part, parts: Sequence[Part]) -> None:
        self.root = main.reader.root
        self._main = main
        self._parts = parts

    @property
    def joined(self) -> str:
        """Name of the joined split, such as ``unlabeled + coco/train + voc/train``."""
        return " + ".join([self._main.split, *(f"{part.name}/{part.split}" for part in self._parts)])

    @property
    def roots(self) -> list[Path]:
        """Folders of all data sets."""
        return list(dict.fromkeys(part.reader.root for part in (self._main, *self._parts)))

    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split of the main data set, or of all parts for the split `joined`.

        Raises:
            DataError: a split does not exist, or the list of its pictures is damaged.
        """
        if split != self.joined:
            return self._records(replace(self._main, split=split))
        return [record for part in (self._main, *self._parts) for record in self._records(part)]

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred square of a picture, scaled to ``spec.size``, without target.

        Raises:
            DataError: the file is missing or unreadable.
        """
        return picture_sample(record, spec)

    def take_findings(self) -> Findings | None:
        """Return the findings of the main data set since the last call and discard them."""
        return self._main.reader.take_findings()

    def _records(self, part: Part) -> list[Record]:
        prefix = "" if part.name == self._main.name else f"{part.name}/"
        return [
            replace(record, source=f"{prefix}{record.source}", target=None)
            for record in part.reader.records(part.split)
        ]
