"""Data that a user names on the command line: one folder, two folders of pairs, or pictures with annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from palimpsest.data.coco import CocoFolder
from palimpsest.data.formats import FOLDER_FORMATS, FORMATS
from palimpsest.data.paired import PairedFolder, TwoFolders
from palimpsest.data.picture_folder import PictureFolder
from palimpsest.data.pictures import Limits
from palimpsest.data.reader import DatasetReader
from palimpsest.data.targets import LABELS, Target
from palimpsest.data.voc import VocFolder
from palimpsest.errors import DataError

SIGNS: dict[str, tuple[str, ...]] = {
    "coco": ("annotations/*2017.json", "val2017", "train2017"),
    "voc": ("VOCdevkit/VOC2012/ImageSets", "VOC2012/ImageSets", "ImageSets/Segmentation"),
}
"""Files by which a layout is recognised."""

NO_LIMIT_KEY = Limits(key="")
"""Limits of the default settings, for commands that have no option of them."""


@dataclass(frozen=True)
class UserData:
    """Paths of the data."""

    folders: Sequence[Path]
    """One folder, or the folders of inputs and of targets."""
    annotations: Path | None = None
    """COCO annotations of the pictures in the folder; None for none."""
    layout: str | None = None
    """Format of the folder, one of `FOLDER_FORMATS`; None to recognise it by the files."""


class AnnotatedPictures(CocoFolder):
    """Reader of a folder of pictures with one file of COCO annotations; its only split is ``train``."""

    def __init__(self, pictures: Path, annotations: Path) -> None:
        super().__init__(pictures, names_settings=False)
        self._annotations = annotations

    def _index_file(self, split: str) -> Path:
        if split != "train":
            raise DataError(f"{self._annotations}: has the split 'train' alone, found {split!r}; leave it out")
        return self._annotations

    def _picture_folder(self, split: str) -> Path:
        return self.root


def open_user_data(data: UserData, target: Target | None, *, exact: bool) -> DatasetReader:
    """Return the reader of the data for a task with such targets; None for a task without targets.

    With ``exact`` pairs without splits are divided by `split_exactly`.

    Raises:
        DataError: a path does not exist, or the layout is unknown or has no such targets.
    """
    for path in data.folders:
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; correct the path")
    root, *others = data.folders
    if others:
        return TwoFolders(root, others[0], limits=NO_LIMIT_KEY, exact=exact)
    if data.annotations is not None:
        if not data.annotations.is_file():
            raise DataError(f"{data.annotations}: no such file; correct the path")
        return AnnotatedPictures(root, data.annotations)
    layout = data.layout or layout_of(root, target)
    if target is not None and not FORMATS[layout].serves(target):
        fitting = " or ".join(name for name in FOLDER_FORMATS if FORMATS[name].serves(target))
        problem = f"the layout {layout} has no targets of the type {target.name}"
        raise DataError(f"{root}: {problem}; name a folder in the layout {fitting}")
    if layout == "paired":
        return PairedFolder(root, limits=NO_LIMIT_KEY, exact=exact, names_settings=False)
    if layout == "coco":
        return CocoFolder(root, names_settings=False)
    return VocFolder(root) if layout == "voc" else PictureFolder(root)


def layout_of(folder: Path, target: Target | None) -> str:
    """Return the layout of a folder: ``coco`` or ``voc`` by its files, otherwise ``paired`` or ``pictures``.

    The latter is for tasks without targets.

    Raises:
        DataError: the task needs labels, and the folder is in the layout of neither COCO nor VOC.
    """
    for layout, signs in SIGNS.items():
        if any(next(folder.glob(sign), None) for sign in signs):
            return layout
    if target == LABELS:
        raise DataError(
            f"{folder}: no files in the layout of COCO or VOC, which have labels; name the folder of such a data "
            "set, or COCO annotations with --annotations"
        )
    return "pictures" if target is None else "paired"


def split_of_all(reader: DatasetReader) -> str | None:
    """Return the split with all pictures of data that have no splits; None if they have some.

    Pairs without splits have two, of which one is a tenth (`PairedFolder`).
    """
    if isinstance(reader, AnnotatedPictures):
        return "train"
    if isinstance(reader, PictureFolder) and not any((reader.root / split).is_dir() for split in ("train", "val")):
        return "train"
    return None


def has_split(reader: DatasetReader, split: str) -> bool:
    """Return True if a data set has pictures in a split."""
    try:
        return bool(reader.records(split))
    except DataError:
        return False
