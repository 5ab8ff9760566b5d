"""Prepared arrays: one folder per task, written once and memory-mapped ever after.

    picture.npy   uint8 (N, S, S, 3) RGB
    target.npy    in one of the forms of `palimpsest.data.targets`; not every task has one
    index.csv     row,source,split: the file each row is from, relative to the data set's folder
    info.json     sizes, classes, pictures and shares of the classes per split, what was left out or not painted
                  and why, and SHA-256 of the arrays

The same pictures and settings give the same bytes: no dates, no absolute paths.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from palimpsest.data.pictures import Pixels
from palimpsest.data.targets import PICTURE, TARGETS, Target
from palimpsest.errors import DataError
from palimpsest.storage.atomic import replacing_folder, writing

Array = NDArray[Any]
"""Pictures or targets, of the dtype of their form."""


@dataclass(frozen=True)
class Prepared:
    """The prepared arrays of one task, memory-mapped and read-only."""

    picture: Pixels
    """(N, S, S, 3) RGB."""

    target: Array | None
    """In the form of `form`, where the task has a target."""

    sources: tuple[str, ...]
    splits: tuple[str, ...]
    info: Mapping[str, Any]
    sha256: str = ""
    """SHA-256 of `info.json`, which contains those of the arrays; empty without a file."""

    @property
    def form(self) -> Target | None:
        """Form of the target: the one of its dtype and channels."""
        if self.target is None:
            return None
        dtype, channels = self.target.dtype.name, self.target.shape[3] if self.target.ndim == 4 else None
        return next(form for form in TARGETS.values() if (form.dtype, form.channels) == (dtype, channels))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the arrays that `write_prepared` wrote.

        Raises:
            DataError: a file is missing, damaged or does not fit the others.
        """
        folder = Path(folder)
        picture = _mapped(folder / "picture.npy")
        _check_form(folder / "picture.npy", picture, PICTURE)
        target = _mapped(folder / "target.npy") if (folder / "target.npy").exists() else None
        index, facts = folder / "index.csv", folder / "info.json"
        try:
            with index.open(encoding="utf-8", newline="") as lines:
                rows = list(csv.DictReader(lines))
            sources, splits = (tuple(row[column] for row in rows) for column in ("source", "split"))
            content = facts.read_bytes()
            info: dict[str, Any] = json.loads(content)
        except FileNotFoundError as error:
            raise DataError(f"{error.filename}: no such file; prepare the task again") from None
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise DataError(f"{folder}: index.csv or info.json is damaged: {error}; prepare again") from error
        if target is not None and info.get("target") is not None:
            _check_form(folder / "target.npy", target, TARGETS.get(info["target"]))
        lengths = {"index.csv": len(rows), "picture.npy": len(picture)}
        if target is not None:
            lengths["target.npy"] = len(target)
        if len({*lengths.values()}) > 1 or (info.get("target") is None) != (target is None):
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"{folder}: files that do not belong together ({found} rows); prepare again")
        return cls(picture, target, sources, splits, info, hashlib.sha256(content).hexdigest())

    def counts(self) -> dict[str, float]:
        """Return the pictures per split, those left out, the shares of classes, and the faulty annotations."""
        counts: dict[str, float] = {}
        for split, pictures in self.info["splits"].items():
            counts |= {f"pictures/{split}/{what}": number for what, number in pictures.items() if what != "from"}
        for split, labels in self.info.get("labels", {}).items():
            counts |= {f"classes/{split}/{name}": share for name, share in labels["classes"].items()}
            counts |= {f"annotations/{split}/{what}": n for what, n in labels.get("annotations", {}).items()}
            counts[f"ignored/{split}"] = labels["ignored"]
        for split, values in self.info.get("values", {}).items():
            counts |= {f"values/{split}/{what}": number for what, number in values.items()}
        return counts

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of ``train`` or ``val``, ascending.

        Raises:
            DataError: no picture is in this split.
        """
        rows = np.flatnonzero(np.array(self.splits) == split)
        if not rows.size:
            raise DataError(f"no picture in the split {split!r}; there are {sorted({*self.splits})}")
        return rows


class RowFile:
    """A ``.npy`` file of rows of one shape, written row by row; its length is known when it is closed.

    Written and not mapped: on a full disk a write is an error to be told, a mapped page kills the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str = "uint8") -> None:
        """Open ``path``; rows are of ``shape``."""
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._path = path
        self._shape = shape
        self._length = 0
        self._sha256 = hashlib.sha256()
        with writing(path):
            self._file = path.open("w+b")
            self._write_header()

    def append(self, row: Array) -> None:
        """Add one row."""
        if row.shape != self._shape or row.dtype != self._dtype:
            raise ValueError(f"a row of {row.dtype} {row.shape} in a file of {self._dtype} {self._shape}")
        content = row.tobytes()
        with writing(self._path):
            self._file.write(content)
        self._sha256.update(content)
        self._length += 1

    @property
    def sha256(self) -> str:
        """SHA-256 of all rows so far, without the file's header."""
        return self._sha256.hexdigest()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Completes the header and has the disk confirm the file."""
        with writing(self._path), self._file:
            if error is None:
                self._file.seek(0)
                self._write_header()
                self._file.flush()
                os.fsync(self._file.fileno())

    def _write_header(self) -> None:
        # numpy leaves room in every header for the first axis to grow, and can be written over in place
        shape = (self._length, *self._shape)
        npy.write_array_header_1_0(self._file, {"descr": self._dtype.str, "fortran_order": False, "shape": shape})


@dataclass
class Rows:
    """The arrays of one task while they are written."""

    picture: RowFile
    target: RowFile | None
    info: dict[str, Any] = field(default_factory=dict)
    index: list[tuple[str, str]] = field(default_factory=list)

    def add(self, split: str, source: str, picture: Pixels, target: Array | None = None) -> None:
        """Add one photograph, uint8 (S, S, 3), and its target."""
        if (target is None) != (self.target is None):
            raise ValueError(f"{source}: a target where there is none, or none where there is one")
        self.picture.append(picture)
        if self.target is not None and target is not None:
            self.target.append(target)
        self.index.append((source, split))


@contextmanager
def write_prepared(folder: Path, size: int, target: Target | None) -> Iterator[Rows]:
    """Write a folder of prepared arrays, row by row with `Rows.add`; `Rows.info` is the caller's to fill.

    The folder is never half-done, and what stood there before stays until the end; see `replacing_folder`.

    Raises:
        StorageError: the disk is full or not writable; names the file.
    """
    with replacing_folder(Path(folder)) as partial:
        with RowFile(partial / "picture.npy", (size, size, 3)) as pictures:
            if target is None:
                rows = Rows(pictures, None)
                yield rows
            else:
                with RowFile(partial / "target.npy", target.shape(size), target.dtype) as targets:
                    rows = Rows(pictures, targets)
                    yield rows
        _write_index(partial / "index.csv", rows.index)
        content = {"picture": rows.picture.sha256, "target": rows.target.sha256 if rows.target else None}
        rows.info |= {"size": size, "target": target.name if target else None, "sha256": content}
        _write_info(partial / "info.json", rows.info)


def _write_index(path: Path, index: list[tuple[str, str]]) -> None:
    with writing(path), path.open("w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("row", "source", "split"))
        table.writerows((row, source, split) for row, (source, split) in enumerate(index))


def _write_info(path: Path, info: Mapping[str, Any]) -> None:
    text = json.dumps(info, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    with writing(path):
        path.write_text(text, encoding="utf-8", newline="\n")


def _mapped(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; prepare the task first") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged: {error}; prepare the task again") from error
    return array


def _check_form(path: Path, array: Array, form: Target | None) -> None:
    """Raise `DataError` where an array has another dtype or other axes than its form."""
    if form is None:
        raise DataError(f"{path}: a target of an unknown form in info.json; prepare again")
    axes = (form.channels,) if form.channels else ()
    if array.dtype != form.dtype or array.ndim != 3 + len(axes) or array.shape[3:] != axes:
        raise DataError(f"{path}: {array.dtype} {array.shape}, not {form.dtype} {form.name}; prepare again")
