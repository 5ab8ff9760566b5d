"""Training pictures from several splits, of one or several data sets, for tasks without targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from palimpsest.data.pictures import Record
from palimpsest.data.reader import DatasetReader, Sample, SampleSpec, picture_sample


@dataclass(frozen=True)
class Part:
    """Split of a data set whose pictures are added to those of another split."""

    name: str
    """Name of the data set."""
    reader: DatasetReader
    split: str


class JoinedReader(DatasetReader):
    """Reader of the data set ``main`` with one more split, `joined`: the pictures of ``split`` and of ``parts``.

    The source of a record of another data set starts with its name, because two data sets can have equal paths.
    """

    def __init__(self, main: Part, parts: Sequence[Part]) -> None:
        self.root = main.reader.root
        self._main = main
        self._parts = parts

    @property
    def joined(self) -> str:
        """Name of the joined split, such as ``unlabeled + coco/train + voc/train``."""
        return " + ".join([self._main.split, *(f"{part.name}/{part.split}" for part in self._parts)])

    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split of the main data set, or of all parts for the split `joined`.

        Raises:
            DataError: a split does not exist, or the list of its pictures is damaged.
        """
        if split != self.joined:
            return self._main.reader.records(split)
        records = self._main.reader.records(self._main.split)
        for part in self._parts:
            added = part.reader.records(part.split)
            if part.name != self._main.name:
                added = [replace(record, source=f"{part.name}/{record.source}") for record in added]
            records = [*records, *added]
        return records

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred square of a picture, scaled to ``spec.size``, without target.

        Raises:
            DataError: the file is missing or unreadable.
        """
        return picture_sample(record, spec)
