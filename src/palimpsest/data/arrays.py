"""Prepared arrays: one folder per task, written once and then memory-mapped.

    picture.npy   uint8 (N, S, S, 3) RGB
    target.npy    targets of a type of `palimpsest.data.targets`; missing for tasks without targets
    index.csv     row,source,split: the source file of each row, relative to the folder of the data set; files of
                  another data set (`additional_pictures`) start with its name
    info.json     sizes, classes, counts of pictures and fractions of the classes per split, excluded pictures and
                  annotations with the reasons, and SHA-256 of the arrays

The files contain no dates and no absolute paths, so equal pictures and settings give equal bytes.
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
"""Pictures (uint8), or targets with the dtype of their `Target`."""


@dataclass(frozen=True)
class Prepared:
    """Prepared arrays of one task, memory-mapped and read-only."""

    picture: Pixels
    """(N, S, S, 3) RGB."""

    target: Array | None
    """Targets of the type `target_type`, one per picture; None for tasks without targets."""

    sources: tuple[str, ...]
    """Source file of each picture, as in `index.csv`."""
    splits: tuple[str, ...]
    """Split of each picture: ``train``, ``dev`` or ``val``."""
    info: Mapping[str, Any]
    """Content of `info.json`."""
    sha256: str = ""
    """SHA-256 of `info.json`, a file that contains the SHA-256 of both arrays; empty for arrays without files."""

    @property
    def target_type(self) -> Target | None:
        """Type of the targets, derived from their dtype and channels; None for tasks without targets."""
        if self.target is None:
            return None
        dtype, channels = self.target.dtype.name, self.target.shape[3] if self.target.ndim == 4 else None
        return next(target for target in TARGETS.values() if (target.dtype, target.channels) == (dtype, channels))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Return the memory-mapped arrays of a folder that `write_prepared` wrote.

        Raises:
            DataError: a file is missing or damaged, or the files do not belong together.
        """
        folder = Path(folder)
        picture = _mapped(folder / "picture.npy")
        _check_target(folder / "picture.npy", picture, PICTURE)
        target = _mapped(folder / "target.npy") if (folder / "target.npy").exists() else None
        index_path, info_path = folder / "index.csv", folder / "info.json"
        try:
            with index_path.open(encoding="utf-8", newline="") as lines:
                rows = list(csv.DictReader(lines))
            sources, splits = (tuple(row[column] for row in rows) for column in ("source", "split"))
            content = info_path.read_bytes()
            info: dict[str, Any] = json.loads(content)
        except FileNotFoundError as error:
            raise DataError(f"{error.filename}: no such file; {_advice(folder)}") from None
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise DataError(f"{folder}: index.csv or info.json is damaged ({error}); {_advice(folder)}") from error
        if target is not None and info.get("target") is not None:
            _check_target(folder / "target.npy", target, TARGETS.get(info["target"]))
        lengths = {"index.csv": len(rows), "picture.npy": len(picture)}
        if target is not None:
            lengths["target.npy"] = len(target)
        if len({*lengths.values()}) > 1 or (info.get("target") is None) != (target is None):
            counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"{folder}: files do not belong together ({counts} rows); {_advice(folder)}")
        return cls(picture, target, sources, splits, info, hashlib.sha256(content).hexdigest())

    def counts(self) -> dict[str, float]:
        """Return the numbers in `info` as metrics for MLflow, such as ``pictures/train/broken``: 3.

        They count pictures and annotations, and give the fractions of classes and the range of numeric targets.
        """
        counts: dict[str, float] = {}
        for split, pictures in self.info["splits"].items():
            counts |= {f"pictures/{split}/{name}": number for name, number in pictures.items() if name != "from"}
        for split, labels in self.info.get("labels", {}).items():
            counts |= {f"classes/{split}/{name}": share for name, share in labels["classes"].items()}
            counts |= {
                f"annotations/{split}/{name}": number for name, number in labels.get("annotations", {}).items()
            }
            counts[f"ignored/{split}"] = labels["ignored"]
        for split, values in self.info.get("values", {}).items():
            counts |= {f"values/{split}/{name}": number for name, number in values.items()}
        return counts

    def class_shares(self, split: str) -> dict[str, float]:
        """Return the fraction of the pixels of each class in a split by the class's name; empty without labels."""
        return dict(self.info.get("labels", {}).get(split, {}).get("classes", {}))

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the indices of the pictures of a split, such as ``train``, ascending: (N,).

        Raises:
            DataError: the split has no picture.
        """
        rows = np.flatnonzero(np.array(self.splits) == split)
        if not rows.size:
            others = ", ".join(sorted({*self.splits})) or "no split"
            raise DataError(
                f"prepared arrays without a picture of {split!r}, only of {others}; prepare the task again"
            )
        return rows


class RowFile:
    """Writer of a ``.npy`` file that grows by one row per `append`; use it in a `with` statement.

    The end of the `with` block writes the number of rows into the header. The file is not memory-mapped: on a full
    disk a write raises an error, whereas a mapped page kills the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str = "uint8") -> None:
        """Create or overwrite ``path`` for rows of this shape and dtype."""
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._path = path
        self._shape = shape
        self._length = 0
        self._sha256 = hashlib.sha256()
        with writing(path):
            self._file = path.open("w+b")
            self._write_header()

    def append(self, row: Array) -> None:
        """Write one row at the end of the file.

        Raises:
            ValueError: the row has another shape or dtype.
            StorageError: the row cannot be written, as on a full disk.
        """
        if row.shape != self._shape or row.dtype != self._dtype:
            raise ValueError(f"a row of {row.dtype} {row.shape} in a file of {self._dtype} {self._shape}")
        content = row.tobytes()
        with writing(self._path):
            self._file.write(content)
        self._sha256.update(content)
        self._length += 1

    @property
    def sha256(self) -> str:
        """SHA-256 of all rows so far, without the header."""
        return self._sha256.hexdigest()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the header, flush the file to the disk and close it; after an error only close it."""
        with writing(self._path), self._file:
            if error is None:
                self._file.seek(0)
                self._write_header()
                self._file.flush()
                os.fsync(self._file.fileno())

    def _write_header(self) -> None:
        # NumPy pads the header so that a longer first axis fits; the header can be overwritten in place.
        shape = (self._length, *self._shape)
        npy.write_array_header_1_0(self._file, {"descr": self._dtype.str, "fortran_order": False, "shape": shape})


@dataclass
class PreparedWriter:
    """Writer of the prepared arrays of one task, made by `write_prepared`."""

    picture: RowFile
    target: RowFile | None
    """None for tasks without targets."""
    info: dict[str, Any] = field(default_factory=dict)
    """Content of `info.json`, filled by the caller."""
    index: list[tuple[str, str]] = field(default_factory=list)
    """Source file and split of each picture so far."""

    def add(self, split: str, source: str, picture: Pixels, target: Array | None = None) -> None:
        """Write one picture, uint8 (S, S, 3), and its target to the files, and add the picture to `index`.

        Raises:
            ValueError: the target is missing, or the task has no targets.
        """
        if (target is None) != (self.target is None):
            raise ValueError(f"{source}: target {'missing' if target is None else 'unexpected'}")
        self.picture.append(picture)
        if self.target is not None and target is not None:
            self.target.append(target)
        self.index.append((source, split))


@contextmanager
def write_prepared(folder: Path, size: int, target: Target | None) -> Iterator[PreparedWriter]:
    """Yield the writer of a folder of prepared arrays; the caller adds the pictures and fills ``info``.

    ``size`` is the side of the pictures in pixels, ``target`` the type of the targets, None for a task without
    targets. After the block the index and `info.json` are written, and the folder replaces an existing one
    atomically (`replacing_folder`). After an error an existing folder stays as it was.

    Raises:
        StorageError: the disk is full or not writable; the message names the file.
    """
    with replacing_folder(Path(folder)) as partial:
        with RowFile(partial / "picture.npy", (size, size, 3)) as pictures:
            if target is None:
                rows = PreparedWriter(pictures, None)
                yield rows
            else:
                with RowFile(partial / "target.npy", target.shape(size), target.dtype) as targets:
                    rows = PreparedWriter(pictures, targets)
                    yield rows
        _write_index(partial / "index.csv", rows.index)
        content = {"picture": rows.picture.sha256, "target": rows.target.sha256 if rows.target else None}
        rows.info |= {"size": size, "target": target.name if target else None, "sha256": content}
        _write_info(partial / "info.json", rows.info)


def _advice(folder: Path) -> str:
    """Return the advice of a message about damaged files in a folder of prepared arrays."""
    return f"delete the folder {folder} and run snakemake again, which prepares the task"


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
        raise DataError(f"{path}: no such file; {_advice(path.parent)}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: is damaged ({error}); {_advice(path.parent)}") from error
    return array


def _check_target(path: Path, array: Array, target_type: Target | None) -> None:
    """Check that an array has the dtype and the axes of its type, None if `info.json` names an unknown type.

    Raises:
        DataError: dtype or axes differ, or the type is unknown; the message names the file.
    """
    if target_type is None:
        raise DataError(f"{path}: info.json names an unknown type of targets; {_advice(path.parent)}")
    axes = (target_type.channels,) if target_type.channels else ()
    if array.dtype != target_type.dtype or array.ndim != 3 + len(axes) or array.shape[3:] != axes:
        raise DataError(
            f"{path}: expected {target_type.dtype} {target_type.name}, found {array.dtype} "
            f"{array.shape}; {_advice(path.parent)}"
        )
