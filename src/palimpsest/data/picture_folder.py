"""Folder of pictures without targets, for tasks such as colorization and style."""

from pathlib import Path

from palimpsest.data.pictures import Record, list_pictures
from palimpsest.data.reader import DatasetReader, Sample, SampleSpec, picture_sample
from palimpsest.errors import DataError, printable

TRAIN = "train"


class PictureFolder(DatasetReader):
    """Reader of all pictures below a folder, or below its subfolder with the name of the split.

    Without subfolders ``train`` has all pictures, and there is no other split.
    """

    def __init__(self, root: Path) -> None:
        """Check that ``root`` is a folder.

        Raises:
            DataError: there is no such folder.
        """
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; correct the root of the data set")

    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split, sorted by path.

        Raises:
            DataError: there is no such folder, or a folder cannot be read.
        """
        folder = self.root / split
        if not folder.is_dir():
            if split != TRAIN:
                raise DataError(f"{self.root}: no folder {split!r}; add one with pictures, or name another split")
            folder = self.root
        paths = list_pictures(folder)
        sources = [printable(path.relative_to(self.root).as_posix()) for path in paths]
        return [Record(source, path, source) for source, path in zip(sources, paths, strict=True)]

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred square of a picture, scaled to ``spec.size``."""
        return picture_sample(record, spec)
