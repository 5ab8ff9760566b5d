"""MS COCO 2017 and data sets in its layout: photographs in folders, instances in JSON.

Layout: ``<root>/{train2017,val2017,unlabeled2017}`` and ``<root>/annotations`` with
``instances_{train,val}2017.json`` and ``image_info_unlabeled2017.json``. Format: https://cocodataset.org/#format-data.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from palimpsest.data.pictures import (
    IGNORED,
    Frame,
    Pixels,
    Record,
    list_pictures,
    read_frame,
    turn_labels,
)
from palimpsest.errors import DataError, printable

INDEX = {
    "train": "instances_train2017.json",
    "val": "instances_val2017.json",
    "unlabeled": "image_info_unlabeled2017.json",
}

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
"""What JSON of another shape makes its reader raise; the last of them where it says `Infinity`."""

T = TypeVar("T")
Rle = dict[str, Any]
Polygon = NDArray[np.float64]


@dataclass
class _Annotation:
    """What painting one instance takes; half of `instances_train2017.json` is never kept in memory."""

    name: str
    category: str | None
    segmentation: Any
    crowd: bool


@dataclass
class _Split:
    """The index of one split."""

    records: list[Record]
    sizes: dict[str, tuple[int, int] | None] = field(default_factory=dict)  # (height, width) in the JSON
    annotations: dict[str, list[_Annotation]] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    labelled: bool = False


class CocoFolder:
    """A folder in COCO layout; splits ``train``, ``val`` and ``unlabeled``. JSON is read when it is needed.

    Without its JSON a split still has photographs (for colorization and style), but no label maps.
    """

    def __init__(self, root: Path) -> None:
        """Looks whether ``root`` is there, and reads nothing yet."""
        self.root = Path(root)
        self._splits: dict[str, _Split] = {}
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder")

    @property
    def categories(self) -> dict[str, str]:
        """Supercategory by category name, in the order of the JSON.

        Raises:
            DataError: there is no JSON with categories.
        """
        for split in ("train", "val"):
            if self._index_file(split).is_file():
                return dict(self._split(split).categories)
        raise DataError(f"{self._index_file('train')}: no such file")

    def records(self, split: str) -> list[Record]:
        """The photographs of a split, sorted by id.

        Two photographs under one id, and annotations of a photograph that is not listed, are records with a
        `fault`.

        Raises:
            DataError: no such split, or its JSON is damaged.
        """
        return list(self._split(split).records)

    def label_map(
        self, record: Record, class_of: Mapping[str, int], other: int, frame: Frame | None = None
    ) -> Pixels:
        """The class of each pixel, uint8 (H, W) in the shown orientation of the photograph.

        Where instances overlap, the smaller one wins (fewer pixels; of equals the later one), so that the cup
        on the table is a cup. Crowd regions are 255 and take part under the same rule. Instances of a
        category that ``class_of`` lacks get ``other`` (0 background, 255 ignored); the rest is 0.

        ``frame`` is the photograph's, where the caller has read it already.

        Raises:
            DataError: there are no annotations, or damaged ones, or ones made for another size.
        """
        split = record.key.partition("/")[0]
        index = self._split(split)
        if not index.labelled:
            raise DataError(f"{self._index_file(split)}: no such file, or no annotations in it")
        frame = frame or read_frame(record.picture)
        height, width = index.sizes.get(record.key) or frame.shown
        if (height, width) not in (frame.shown, frame.stored):
            raise DataError(
                f"{record.picture}: its annotations are for {width}×{height} pixels, "
                f"the picture is {frame.shown[1]}×{frame.shown[0]}"
            )
        painted: list[tuple[Rle, int]] = []
        for annotation in index.annotations.get(record.key, ()):
            if annotation.category is None:
                raise DataError(f"{record.picture}: {annotation.name} is of a category that is not listed")
            label = IGNORED if annotation.crowd else class_of.get(annotation.category, other)
            try:
                painted += [(rle, label) for rle in _regions(annotation.segmentation, height, width)]
            except MALFORMED as error:
                raise DataError(f"{record.picture}: {annotation.name}: {error}") from error
        return turn_labels(_paint(painted, height, width), frame, str(record.picture))

    def _index_file(self, split: str) -> Path:
        return self.root / "annotations" / INDEX[split]

    def _split(self, split: str) -> _Split:
        if split not in INDEX:
            raise DataError(f"{self.root}: a COCO data set has no split {split!r}, only {', '.join(INDEX)}")
        if split not in self._splits:
            path, folder = self._index_file(split), self.root / f"{split}2017"
            read = _read_index if path.is_file() else _listed
            self._splits[split] = read(path, split, folder)
        return self._splits[split]


def _listed(path: Path, split: str, folder: Path) -> _Split:
    if not folder.is_dir():
        raise DataError(f"{path}: no such file, and no folder {folder.name}")
    names = [(picture, picture.relative_to(folder).as_posix()) for picture in list_pictures(folder)]
    return _Split(
        [Record(printable(f"{folder.name}/{name}"), picture, f"{split}/{name}") for picture, name in names]
    )


def _read_index(path: Path, split: str, folder: Path) -> _Split:
    try:
        content = json.loads(path.read_bytes(), object_hook=_slim)
        return _index(content, split, folder)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (*MALFORMED, RecursionError) as error:
        raise DataError(
            f"{path}: not an annotation file of COCO; mend it or fetch it again: {_told(error)}"
        ) from error


def _told(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Polygons as arrays while the JSON is read: a quarter of the memory that Python's numbers take."""
    polygons = entry.get("segmentation")
    if isinstance(polygons, list) and polygons and all(isinstance(polygon, list) for polygon in polygons):
        with suppress(*MALFORMED):  # damaged: said when the picture is painted and can be named
            entry["segmentation"] = [np.array(polygon, np.float64) for polygon in polygons]
    return entry


def _index(content: Any, split: str, folder: Path) -> _Split:
    if not isinstance(content, dict) or "images" not in content:
        raise ValueError("it lists no images")
    categories = dict(_each(content, "categories", _category))
    files: dict[str, list[str]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for identity, name, size in _each(content, "images", _image):
        names = files.setdefault(identity, [])
        if name not in names:  # the same entry twice does no harm
            names.append(name)
        sizes[f"{split}/{identity}"] = size
    annotations: dict[str, list[_Annotation]] = {}
    for identity, annotation in _each(content, "annotations", partial(_annotation, categories)):
        annotations.setdefault(identity, []).append(annotation)

    records: list[Record] = []
    for identity in sorted(files.keys() | annotations.keys(), key=_by_number):
        names, key = files.get(identity, []), f"{split}/{identity}"
        fault = f"the id {identity} has several pictures: {', '.join(names)}" if len(names) > 1 else None
        for name in names:
            records.append(Record(printable(f"{folder.name}/{name}"), folder / name, key, fault))
        if not names:
            fault = f"{len(annotations[identity])} × annotated, but no picture has the id {identity}"
            records.append(Record(printable(f"{folder.name}/(id {identity})"), folder / identity, key, fault))
    by_key = {f"{split}/{identity}": entries for identity, entries in annotations.items()}
    return _Split(records, sizes, by_key, dict(categories.values()), "annotations" in content)


def _each(content: Mapping[str, Any], key: str, read: Callable[[Any], T]) -> Iterator[T]:
    """What is read of each entry of a list, which may be missing; a malformed entry is named by its place."""
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise ValueError(f"{key} is not a list")
    for place, entry in enumerate(entries):
        try:
            yield read(entry)
        except MALFORMED as error:
            raise ValueError(f"{key}[{place}]: {_told(error)}") from error


def _category(entry: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    """Id, name and supercategory."""
    name = str(entry["name"])
    return _identity(entry["id"]), (name, str(entry.get("supercategory") or name))


def _image(entry: Mapping[str, Any]) -> tuple[str, str, tuple[int, int] | None]:
    """Id, file name and (height, width), where both are given."""
    name = entry["file_name"]
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no file name")
    height, width = entry.get("height"), entry.get("width")
    return _identity(entry["id"]), name, (int(height), int(width)) if height and width else None


def _annotation(categories: Mapping[str, tuple[str, str]], entry: Mapping[str, Any]) -> tuple[str, _Annotation]:
    """Id of the picture, and what painting takes."""
    category, _ = categories.get(_identity(entry["category_id"]), (None, None))
    crowd = str(entry.get("iscrowd", 0)) in ("1", "1.0", "True", "true")
    name = f"annotation {entry.get('id', 'without id')}"
    return _identity(entry["image_id"]), _Annotation(name, category, entry.get("segmentation"), crowd)


def _identity(value: object) -> str:
    """An id, which tools write as 9, 9.0 or "9", as one string."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return str(int(value)) if value.strip().isdecimal() else value.strip()
    raise ValueError(f"{value!r} is no id")


def _by_number(identity: str) -> tuple[bool, int, str]:
    return (False, int(identity), "") if identity.isdecimal() else (True, 0, identity)


def _regions(segmentation: Any, height: int, width: int) -> list[Rle]:
    """The pixels of one instance as at most one run-length code, which may end before the picture does."""
    if segmentation is None:
        raise ValueError("it has no segmentation")
    if isinstance(segmentation, dict):
        return [_checked_rle(segmentation, height, width)]
    if not isinstance(segmentation, list):
        raise ValueError("its segmentation is neither a list of polygons nor a run-length code")
    if segmentation and isinstance(segmentation[0], int | float):
        segmentation = [segmentation]  # one polygon that was not put into a list
    polygons = [
        polygon for polygon in map(_polygon, segmentation) if len(polygon) >= 6
    ]  # two points have no inside
    if not polygons:
        return []
    # Where polygons end, the frame may end: the rest would be coded and decoded for nothing.
    right = max(int(polygon[0::2].max()) for polygon in polygons)
    bottom = max(int(polygon[1::2].max()) for polygon in polygons)
    top_left = min(float(polygon.min()) for polygon in polygons)
    if max(right, bottom, -top_left) > 10 * (height + width):  # edges are walked in steps of 1/5 pixel
        raise ValueError(f"a polygon reaches far out of the picture of {width}×{height} pixels")
    shape = max(1, min(height, bottom + 2)), max(1, min(width, right + 2))
    parts: list[Rle] = rle_masks.frPyObjects(polygons, *shape)
    return [parts[0] if len(parts) == 1 else rle_masks.merge(parts)]


def _polygon(points: Iterable[float]) -> Polygon:
    polygon = np.asarray(points, np.float64)
    if polygon.ndim != 1 or polygon.size % 2:
        raise ValueError("a polygon is not a list of x, y, x, y, …")
    if not np.isfinite(polygon).all():
        raise ValueError("a polygon has a coordinate that is not a number")
    return polygon


def _checked_rle(segmentation: Mapping[str, Any], height: int, width: int) -> Rle:
    """A run-length code as pycocotools wants it; a damaged one would have it read foreign memory."""
    if not segmentation.keys() >= {"counts", "size"}:
        raise ValueError("its run-length code lacks counts or size")
    counts, size = segmentation["counts"], [int(number) for number in segmentation["size"]]
    if size != [height, width]:
        raise ValueError(f"its run-length code is for {size[1:]}×{size[:1]} pixels, not {width}×{height}")
    runs = _runs(counts.encode()) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"its run-length code covers {sum(runs)} pixels, not {height * width}")
    rle: Rle = rle_masks.frPyObjects({"counts": runs, "size": size}, height, width)
    return rle


def _runs(code: bytes) -> list[int]:
    """Run lengths out of COCO's compressed code (`rleFrString` of pycocotools).

    Five bits a character, from 48 up, the sixth for "goes on"; from the fourth run on, the difference to the
    last run but one.
    """
    runs: list[int] = []
    value = shift = 0
    for character in code:
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run-length code ends in the middle of a number")
    return runs


def _from_column(code: Rle, left: int) -> Rle:
    """A run-length code without its first columns, which have to be empty: decoding them would take as long as
    decoding full ones.

    They are part of the first run, to which no later one is a difference.
    """
    height, width = code["size"]
    counts: bytes = code["counts"]
    end = next(place for place, character in enumerate(counts, start=1) if not (character - 48) & 0x20)
    (empty,) = _runs(counts[:end])
    return {"size": [height, width - left], "counts": _coded(empty - left * height) + counts[end:]}


def _coded(run: int) -> bytes:
    """A run length in COCO's compressed code; the inverse of `_runs` for the first run."""
    characters = []
    more = True
    while more:
        group = run & 0x1F
        run >>= 5
        more = run > 0 or bool(group & 0x10)  # the highest bit of the last group is the sign
        characters.append(48 + group + 0x20 * more)
    return bytes(characters)


def _paint(regions: list[tuple[Rle, int]], height: int, width: int) -> Pixels:
    """Label map (height, width) of run-length coded regions, the smaller over the larger."""
    columns = np.zeros((width, height), np.uint8)  # run-length codes go down the columns
    if not regions:
        return columns.T
    codes = [code for code, _ in regions]
    areas = rle_masks.area(codes)
    boxes = rle_masks.toBbox(codes).astype(int)
    for number in np.argsort(-areas.astype(np.int64), kind="stable"):
        code, label = regions[number]
        x, y, w, h = boxes[number]
        inside = rle_masks.decode(_from_column(code, x)).T[:w, y : y + h].view(np.bool_)
        np.copyto(columns[x : x + w, y : y + h], np.uint8(label), where=inside)
    return columns.T
