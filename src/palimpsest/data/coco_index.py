"""JSON files of data sets in COCO layout: pictures, annotations and categories of one split."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from palimpsest.data.categories import Category, merge_categories, normalized
from palimpsest.data.outlines import Box, Size, box_of
from palimpsest.data.pictures import Record, list_pictures
from palimpsest.data.regions import MALFORMED, compact
from palimpsest.errors import DataError, printable

T = TypeVar("T")


@dataclass
class Annotation:
    """Fields of an annotation that painting needs; the other fields, half of the JSON of COCO, are dropped."""

    name: str
    """Name in messages, as ``annotation 17``."""
    category: str | None
    """Name of the category; None if its id is unknown."""
    segmentation: Any
    """Segmentation as `compact` returns it."""
    crowd: bool
    box: Box | None = None
    """Box as evidence of the unit of the coordinates; None if it is none (`box_of`)."""


@dataclass
class Index:
    """Content of the JSON of one split, or the list of its pictures if it has no JSON."""

    records: list[Record]
    sizes: dict[str, Size | None] = field(default_factory=dict)
    """Size that the JSON declares, None if it declares none, by `Record.key`."""
    annotations: dict[str, list[Annotation]] = field(default_factory=dict)
    """Annotations of each annotated picture, by `Record.key`."""
    categories: dict[str, str] = field(default_factory=dict)
    """Supercategory by name, in the order of the JSON."""
    annotated: Counter[str] = field(default_factory=Counter)
    """Number of annotations by category name."""
    fault: str | None = None
    """Fault of the list of categories (`merge_categories`), or None; pictures can be used in both cases."""
    labelled: bool = False
    """True if the JSON has a list of annotations."""


def read_index(path: Path, split: str, folder: Path) -> Index:
    """Return the content of the JSON file ``path`` of a split; if it is missing, the pictures in ``folder``.

    Raises:
        DataError: the JSON is damaged, or both JSON and folder are missing.
    """
    return _read(path, split, folder) if path.is_file() else _listed(path, split, folder)


def _listed(path: Path, split: str, folder: Path) -> Index:
    if not folder.is_dir():
        raise DataError(f"{path}: no such file, and no folder {folder.name}; add one of them")
    names = [(picture, picture.relative_to(folder).as_posix()) for picture in list_pictures(folder)]
    return Index(
        [Record(printable(f"{folder.name}/{name}"), picture, f"{split}/{name}") for picture, name in names]
    )


def _read(path: Path, split: str, folder: Path) -> Index:
    try:
        content = json.loads(path.read_bytes(), object_hook=_slim)
        return _index(content, split, folder)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); make it readable") from error
    except (*MALFORMED, RecursionError) as error:
        raise DataError(
            f"{path}: not an annotation file of COCO ({_message(error)}); correct it or fetch it again"
        ) from error


def _message(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Replace the segmentation in a JSON object by its compact form, and return the object; for `json.loads`."""
    if "segmentation" in entry:
        entry["segmentation"] = compact(entry["segmentation"])
    return entry


def _index(content: Any, split: str, folder: Path) -> Index:
    if not isinstance(content, dict) or "images" not in content:
        raise ValueError("images is missing")
    categories = list(_entries(content, "categories", _category))
    names = {category.identity: category.name for category in categories}
    files: dict[str, list[str]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for identity, name, size in _entries(content, "images", _image):
        names_of_id = files.setdefault(identity, [])
        if name not in names_of_id:  # equal entries are merged
            names_of_id.append(name)
        sizes[f"{split}/{identity}"] = size
    annotations: dict[str, list[Annotation]] = {}
    annotated: Counter[str] = Counter()
    for identity, category, annotation in _entries(content, "annotations", partial(_annotation, names)):
        annotations.setdefault(identity, []).append(annotation)
        annotated[category] += 1

    records: list[Record] = []
    for identity in sorted(files.keys() | annotations.keys(), key=_by_number):
        pictures, key = files.get(identity, []), f"{split}/{identity}"
        fault = (
            f"the id {identity} belongs to several pictures: {', '.join(pictures)}" if len(pictures) > 1 else None
        )
        for name in pictures:
            records.append(Record(printable(f"{folder.name}/{name}"), folder / name, key, fault))
        if not pictures:
            fault = f"{len(annotations[identity])} annotations, but no picture has the id {identity}"
            records.append(Record(printable(f"{folder.name}/(id {identity})"), folder / identity, key, fault))
    by_key = {f"{split}/{identity}": entries for identity, entries in annotations.items()}
    groups, category_fault = merge_categories(categories, annotated)
    by_name = Counter(dict.fromkeys(groups, 0))
    for identity, count in annotated.items():
        if identity in names:
            by_name[names[identity]] += count
    return Index(records, sizes, by_key, groups, by_name, category_fault, "annotations" in content)


def _entries(content: Mapping[str, Any], key: str, read: Callable[[Any], T]) -> Iterator[T]:
    """Yield the entries of the list ``content[key]``, converted by ``read``; none if the list is missing.

    Raises:
        ValueError: an entry is malformed; the message names its index.
    """
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise ValueError(f"{key} is not a list")
    for position, entry in enumerate(entries):
        try:
            yield read(entry)
        except MALFORMED as error:
            raise ValueError(f"{key}[{position}]: {_message(error)}") from error


def _category(entry: Mapping[str, Any]) -> Category:
    name = normalized(str(entry["name"]))
    return Category(_identity(entry["id"]), name, normalized(str(entry.get("supercategory") or name)))


def _image(entry: Mapping[str, Any]) -> tuple[str, str, tuple[int, int] | None]:
    """Return id, file name and (height, width) of an entry of ``images``; None if it has no size."""
    name = entry["file_name"]
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is not a file name")
    height, width = entry.get("height"), entry.get("width")
    return _identity(entry["id"]), name, (int(height), int(width)) if height and width else None


def _annotation(names: Mapping[str, str], entry: Mapping[str, Any]) -> tuple[str, str, Annotation]:
    """Return id of the picture, id of the category, and content of an entry of ``annotations``."""
    category, segmentation = _identity(entry["category_id"]), entry.get("segmentation")
    crowd = str(entry.get("iscrowd", 0)) in ("1", "1.0", "True", "true")
    name = f"annotation {entry.get('id', 'without id')}"
    annotation = Annotation(name, names.get(category), segmentation, crowd, box_of(entry, segmentation))
    return _identity(entry["image_id"]), category, annotation


def _identity(value: object) -> str:
    """Return an id as text; tools write it as 9, 9.0 or "9"."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return str(int(value)) if value.strip().isdecimal() else value.strip()
    raise ValueError(f"{value!r} is not an id")


def _by_number(identity: str) -> tuple[bool, int, str]:
    return (False, int(identity), "") if identity.isdecimal() else (True, 0, identity)
