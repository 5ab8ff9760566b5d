"""Pairs of pictures: what goes into a translator and what shall come out.

Layouts, whichever is there: ``<root>/{train,val}/{input,target}/…`` or ``<root>/{input,target}/…`` with the
same names (suffixes may differ), or ``<root>/{train,val}/…`` or ``<root>/…`` with both halves side by side in
one file, as pix2pix has them (Isola et al., CVPR 2017). Without ``train`` and ``val`` one name in ten is val.
"""

import hashlib
import os
import unicodedata
from pathlib import Path
from typing import Literal

from palimpsest.data.pictures import Pixels, Record, list_pictures, read_picture
from palimpsest.errors import DataError, printable

Halves = Literal["input-left", "target-left"]

VAL_SHARE = 0.1

MARK = "\0"
"""Between name and target in the key of a pair of two files: what no file name can hold."""


class PairedFolder:
    """A folder of pairs; splits ``train`` and ``val``; ``both_halves`` says what is where in joint files."""

    def __init__(self, root: Path, both_halves: Halves = "input-left") -> None:
        """Looks whether ``root`` is there, and reads nothing yet."""
        self.root = Path(root)
        self._input_left = both_halves == "input-left"
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder")

    def records(self, split: str) -> list[Record]:
        """The pairs of a split, sorted by name.

        A picture without its other half, and two pictures of one name, are records with a `fault`.

        Raises:
            DataError: no such split.
        """
        if split not in ("train", "val"):
            raise DataError(f"{self.root}: a folder of pairs has no split {split!r}, only train, val")
        if (self.root / "train").is_dir() or (self.root / "val").is_dir():
            return self._pairs(self.root / split)
        return [record for record in self._pairs(self.root) if (split == "val") == _is_val(record.key)]

    def picture(self, record: Record) -> Pixels:
        """The input, uint8 (H, W, 3) RGB.

        Raises:
            DataError: it cannot be read, or is a joint file of odd width.
        """
        return self._half(record, left=self._input_left) if _joint(record) else read_picture(record.picture)

    def target(self, record: Record) -> Pixels:
        """The target, uint8 (H, W, 3) RGB; a grey one stays grey (r = g = b).

        Raises:
            DataError: it is missing, cannot be read, or is a joint file of odd width.
        """
        if _joint(record):
            return self._half(record, left=not self._input_left)
        return read_picture(self.root / record.key.partition(MARK)[2])

    def _pairs(self, home: Path) -> list[Record]:
        if not ((home / "input").is_dir() or (home / "target").is_dir()):
            joint = list_pictures(home)
            return [self._record(path, path.relative_to(self.root).as_posix()) for path in joint]
        inputs, targets = _by_stem(home / "input"), _by_stem(home / "target")
        records = []
        for stem in sorted(inputs.keys() | targets.keys()):
            picture, target = inputs.get(stem, []), targets.get(stem, [])
            several = next((found for found in (picture, target) if len(found) > 1), None)
            fault = None
            if several:
                fault = f"one name for several pictures: {', '.join(path.name for path in several)}"
            elif not picture:
                fault = "there is no input of this name"
            elif not target:
                fault = "there is no target of this name"
            key = f"{stem}{MARK}{target[0].relative_to(self.root).as_posix() if target else ''}"
            records.append(self._record((picture or target)[0], key, fault))
        return records

    def _record(self, path: Path, key: str, fault: str | None = None) -> Record:
        return Record(printable(path.relative_to(self.root).as_posix()), path, key, fault)

    def _half(self, record: Record, left: bool) -> Pixels:
        both = read_picture(record.picture)
        width = both.shape[1]
        if width % 2:
            raise DataError(f"{record.picture}: {width} pixels wide: no two equal halves")
        return both[:, : width // 2] if left else both[:, width // 2 :]


def _joint(record: Record) -> bool:
    return MARK not in record.key


def _is_val(key: str) -> bool:
    name = key.partition(MARK)[0]
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) < VAL_SHARE * 2**64


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Pictures by path without suffix; accents composed, since archives made on macOS decompose them."""
    found: dict[str, list[Path]] = {}
    for path in list_pictures(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        found.setdefault(unicodedata.normalize("NFC", stem), []).append(path)
    return found
