"""Pascal VOC 2012, segmentation: pictures and palette label maps.

Layout: ``<root>/VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}``. Format:
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palimpsest.data.census import Labels
from palimpsest.data.pictures import IGNORED, SUFFIXES, Frame, Pixels, Record, opened, read_frame, turn_labels
from palimpsest.data.reader import DatasetReader, Sample, SampleSpec, labelled_sample
from palimpsest.errors import DataError

GROUPS = {
    "aeroplane": "vehicle",
    "bicycle": "vehicle",
    "bird": "animal",
    "boat": "vehicle",
    "bottle": "indoor",
    "bus": "vehicle",
    "car": "vehicle",
    "cat": "animal",
    "chair": "indoor",
    "cow": "animal",
    "diningtable": "indoor",
    "dog": "animal",
    "horse": "animal",
    "motorbike": "vehicle",
    "person": "person",
    "pottedplant": "indoor",
    "sheep": "animal",
    "sofa": "indoor",
    "train": "vehicle",
    "tvmonitor": "indoor",
}
"""Groups of the VOC challenge by class; the classes are in the order of their labels 1 to 20."""

VOC_CLASSES = tuple(GROUPS)

DEVKIT_FOLDERS = ("VOCdevkit/VOC2012", "VOC2012", "")
"""Possible parents of VOC's folders, relative to the folder of the data set."""
LISTS = "ImageSets/Segmentation"
"""Folder with a list of names for each split."""


class VocFolder(DatasetReader):
    """Reader of a folder with ``VOCdevkit/VOC2012``, with a split for each list, such as ``train`` and ``val``."""

    def __init__(self, root: Path) -> None:
        """Find the folders of VOC in ``root``; files are read when a method needs them.

        Raises:
            DataError: ``root`` has no folder with lists of pictures.
        """
        self.root = Path(root)
        lists = lists_of(self.root)
        if lists is None:
            raise DataError(
                f"{self.root / DEVKIT_FOLDERS[0] / LISTS}: no such folder; correct the root of the data set"
            )
        self._home = lists.parents[1]

    @property
    def categories(self) -> dict[str, str]:
        """Group of the VOC challenge by class name, in the order of the labels."""
        return dict(GROUPS)

    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split, sorted by name.

        Raises:
            DataError: the list of names is missing or unreadable.
        """
        path = self._home / LISTS / f"{split}.txt"
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; add the list of names") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); save it as UTF-8 text") from error
        records = []
        for name in sorted({line.strip() for line in lines} - {""}):
            picture = _located(self._home / "JPEGImages", name, ".jpg")
            records.append(Record(f"JPEGImages/{picture.name}", picture, name))
        return records

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred squares of a picture and its label map; without ``spec.target`` only the picture.

        Raises:
            DataError: as `label_map`, or the picture is unreadable.
        """
        return labelled_sample(record, spec, lambda *options: Labels(self.label_map(*options)))

    def label_map(
        self, record: Record, class_of: Mapping[str, int], other_label: int, frame: Frame | None = None
    ) -> Pixels:
        """Return the class of each pixel, uint8 (H, W), in the shown orientation of the picture.

        Classes outside ``class_of`` get ``other_label`` (0 background, 255 ignored); the background stays 0 and the
        border around objects 255. Maps in RGB are converted by the colours of VOC's palette.

        ``frame`` is the frame of the picture, if the caller has read it.

        Raises:
            DataError: the map is missing, unreadable, of another size, or has labels or colours outside VOC.
        """
        path = _located(self._home / "SegmentationClass", record.key, ".png")
        labels = read_label_map(path)
        wrong = labels[(labels > len(VOC_CLASSES)) & (labels != IGNORED)]
        if wrong.size:
            raise DataError(
                f"{path}: label {wrong[0]}, but VOC has 0 to {len(VOC_CLASSES)} and {IGNORED}; correct the map"
            )
        table = np.zeros(256, np.uint8)
        for label, name in enumerate(VOC_CLASSES, start=1):
            table[label] = class_of.get(name, other_label)
        table[IGNORED] = IGNORED
        return turn_labels(table[labels], frame or read_frame(record.picture), str(path))

    def contents(self, records: Sequence[Record], categories: Sequence[str]) -> str:
        """Return a text for an error message.

        It lists the values in the label maps of ``records``, and the values that VOC has for ``categories``.
        """
        counts = np.zeros(256, np.int64)
        for record in records:
            labels = read_label_map(_located(self._home / "SegmentationClass", record.key, ".png"))
            counts += np.bincount(labels.ravel(), minlength=256)
        values = ", ".join(f"{value} ({counts[value] / counts.sum():.2%})" for value in np.flatnonzero(counts))
        expected = ", ".join(f"{VOC_CLASSES.index(name) + 1} for {name!r}" for name in categories)
        folder = (self._home.relative_to(self.root) / "SegmentationClass").as_posix()
        return (
            f"the maps in {folder} contain the values {values}; VOC has {expected} and {IGNORED} for ignored pixels"
        )


def lists_of(root: Path) -> Path | None:
    """Return the folder with a list of pictures per split, below the folder ``root``; None if it is missing."""
    return next((root / folder / LISTS for folder in DEVKIT_FOLDERS if (root / folder / LISTS).is_dir()), None)


@cache
def palette() -> NDArray[np.uint8]:
    """Return VOC's colour of each label, uint8 (256, 3), read-only; source: `VOClabelcolormap` of the devkit."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((labels >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    colours.setflags(write=False)
    return colours


def read_label_map(path: Path) -> Pixels:
    """Return the labels in a file, uint8 (H, W): palette indices, grey levels, or colours of VOC's palette.

    Raises:
        DataError: the file is missing or unreadable, or has a colour outside VOC's palette.
    """
    with opened(path) as picture:
        if picture.mode == "P":
            indices = np.array(picture)
            if not _recoloured(picture, indices):
                return indices
        elif picture.mode == "L":
            return np.array(picture)
        elif picture.mode == "1" or picture.mode.startswith("I"):
            values = np.asarray(picture).astype(np.int64)
            if values.min(initial=0) < 0 or values.max(initial=0) > 255:
                raise ValueError(f"labels {values.min()} to {values.max()} exceed 0 to 255; correct the map")
            return values.astype(np.uint8)
        return _by_colour(np.asarray(picture.convert("RGB")), path)


def _recoloured(picture: Image.Image, indices: Pixels) -> bool:
    """Return whether a palette picture has VOC's colours under other indices, since some programs sort palettes."""
    stored = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    voc = palette()
    if np.array_equal(stored[: len(VOC_CLASSES) + 1], voc[: len(VOC_CLASSES) + 1]):
        return False
    used = np.unique(indices)
    if used.size and used[-1] >= len(stored):
        return False
    shown = stored[used]
    voc_colours = {*map(bytes, voc[: len(VOC_CLASSES) + 1]), bytes(voc[IGNORED])}
    return not np.array_equal(shown, voc[used]) and all(bytes(colour) in voc_colours for colour in shown)


def _by_colour(colours: Pixels, path: Path) -> Pixels:
    codes = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    voc = palette().astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    order = np.argsort(voc)
    indices = np.minimum(np.searchsorted(voc[order], codes), 255)
    labels = order[indices].astype(np.uint8)
    wrong = colours[voc[labels] != codes]
    if wrong.size:
        raise DataError(f"{path}: colour {tuple(wrong[0].tolist())} is not in VOC's palette; correct the map")
    return labels


def _located(folder: Path, name: str, suffix: str) -> Path:
    """Return the path of a file, ``<folder>/<name><suffix>``.

    If it is missing, return a file with another suffix, or with accents in another Unicode form (NFC, NFD).
    If no such file exists, return the first path.
    """
    expected = folder / f"{name}{suffix}"
    if expected.is_file():
        return expected
    for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
        for ending in (suffix, suffix.upper(), *sorted(SUFFIXES), ""):
            if (folder / f"{form}{ending}").is_file():
                return folder / f"{form}{ending}"
    return expected
