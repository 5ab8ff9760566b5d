"""Pairs of pictures: an input of a translator and its target.

Input and target have the same name in two folders (suffixes may differ), or lie side by side in one file, as in
pix2pix (Isola et al., CVPR 2017). `palimpsest.data.pair_folders` has the layouts. Without folders of splits one
name in ten is val.
"""

import hashlib
import os
import re
import typing
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from palimpsest.data.files import files_below
from palimpsest.data.grey import GreyScale, SideBySide
from palimpsest.data.halves import no_halves, sampled
from palimpsest.data.pair_folders import KNOWN, ROLE_OF, SPLIT_OF, SPLITS, PairFolders, Place, find_pair_folders
from palimpsest.data.paired_settings import PairedDatasetSettings
from palimpsest.data.pictures import (
    USUAL,
    Frame,
    Limits,
    Pixels,
    Record,
    is_picture,
    list_pictures,
    read_shown,
    resize_and_crop,
    stem_of,
)
from palimpsest.data.reader import DatasetReader, Findings, Form, Sample, picture_alone
from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import VALUES
from palimpsest.data.values import read_values
from palimpsest.errors import DataError, printable

Halves = Literal["input-left", "target-left"]
Layout = Literal["auto", "side-by-side"]

VAL_SHARE = 0.1

JOINT_ONLY = "set layout: side-by-side for the data set where every file does hold both halves"


class PairedFolder(DatasetReader):
    """A folder of pairs; splits ``train``, ``val``, ``test``; ``both_halves`` is the order in joint files."""

    def __init__(
        self,
        root: Path,
        both_halves: Halves = "input-left",
        *,
        layout: Layout = "auto",
        limits: Limits = USUAL,
        input_range: tuple[float, float] | None = None,
        target_range: tuple[float, float] | None = None,
    ) -> None:
        """Check that ``root`` exists, and read nothing yet.

        Ranges are those of grey pictures of 16 bits and more (`GreyScale`).
        """
        self.root = Path(root)
        self._input_left = both_halves == "input-left"
        self._joint_only = layout == "side-by-side"
        self._limits = limits
        self._scales = {
            "input": GreyScale(input_range, "input_range"),
            "target": GreyScale(target_range, "target_range"),
        }
        self._folders: PairFolders | None = None
        self._place: Place | None = None
        self._listed: dict[Place, list[Record]] = {}
        self._turned: list[str] = []
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder")

    def records(self, split: str) -> list[Record]:
        """Return the pairs of a split, sorted by name.

        A picture without its other half, and two pictures of one name, are records with a `fault`.

        Raises:
            DataError: no such split, an unknown layout, or one pair alone for train and val.
        """
        name = SPLIT_OF.get(split.casefold())
        if name is None:
            raise DataError(f"{self.root}: a folder of pairs has no split {split!r}, only {', '.join(SPLITS)}")
        if self._folders is None:
            self._folders = find_pair_folders(self.root, self._joint_only)
        place = self._folders.splits.get(name)
        if isinstance(place, DataError):
            raise place
        if place is not None:
            return list(self._pairs(place))
        records = self._pairs(self._folders.whole) if self._folders.whole and name != "test" else []
        if not records and self._folders.splits:
            names = list(self._folders.splits)
            advice = ", or set splits: {val: test} for the task" if name == "val" and "test" in names else ""
            raise DataError(
                f"{self.root}: no folder of the split {split!r}, only of {', '.join(names)}; add one{advice}"
            )
        return dealt_out(records, self.root)[name] if records else []

    @classmethod
    def of(cls, settings: DatasetSettings, root: Path, limits: Limits = USUAL) -> typing.Self:
        """Open the data set in a folder."""
        assert isinstance(settings, PairedDatasetSettings)
        return cls(
            root,
            "input-left" if settings.input_side == "left" else "target-left",
            layout=settings.layout,
            limits=limits,
            input_range=settings.input_range,
            target_range=settings.target_range,
        )

    def read(self, record: Record, form: Form) -> Sample:
        """Read input and target at their final size; a task without a target takes the input, or the joint file."""
        if form.target is None:
            return picture_alone(record, form)
        if form.target == VALUES:
            return self._with_values(record, form)
        picture, target = (resize_and_crop(pixels, form.size, labels=False) for pixels in self.pair(record))
        return Sample(picture, target)

    def pair(self, record: Record) -> tuple[Pixels, Pixels]:
        """Return input and target, uint8 (H, W, 3) RGB each; a grey one stays grey (r = g = b).

        Raises:
            DataError: one is missing or cannot be read, their shapes differ, or a joint file has no two halves.
        """
        if record.target is None:
            return self._halves(record)
        picture, frame = read_shown(record.picture, self._limits, self._scales["input"])
        target, target_frame = read_shown(record.target, self._limits, self._scales["target"])
        self._compare(record, frame, target_frame)
        return picture, target

    def _with_values(self, record: Record, form: Form) -> Sample:
        if record.target is None:
            raise DataError(
                f"{record.picture}: a file with both halves has no target of numbers; save inputs and targets apart"
            )
        pixels, frame = read_shown(record.picture, self._limits, self._scales["input"])
        return read_values(record.target, resize_and_crop(pixels, form.size, labels=False), frame, form)

    def take_findings(self) -> Findings:
        """Return the findings since the last call, at the end of a split."""
        found = Findings()
        if self._place is not None:
            found.info["layout"] = self._place.describe(self.root)
            found.lines.append(str(found.info["layout"]))
        if self._folders is not None and self._folders.notes:
            found.info["notes"] = list(self._folders.notes)
            found.lines += self._folders.notes
        for role, scale in self._scales.items():
            summary = scale.summary()
            if summary is not None:
                found.info[role] = summary
                found.lines.append(f"{role}s: {scale.describe()}")
            scale.restart()
        if self._turned:
            found.info["orientation_in_one"] = self._turned
            shown = ", ".join(self._turned[:5]) + (", …" if len(self._turned) > 5 else "")
            found.lines.append(
                f"EXIF orientation in one picture of a pair alone, and shapes that do not show whether it holds: "
                f"{len(self._turned)}; look at {shown}"
            )
            self._turned = []
        return found

    def _pairs(self, place: Place) -> list[Record]:
        self._place = place
        if place not in self._listed:
            self._listed[place] = self._joint(place.joint) if place.joint is not None else self._separate(place)
        return self._listed[place]

    def _separate(self, place: Place) -> list[Record]:
        assert place.input is not None and place.target is not None
        inputs, targets = _by_stem(place.input), _by_stem(place.target)
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
            file = target[0] if target and not fault else None
            records.append(self._record((picture or target)[0], stem, fault, file))
        return records

    def _joint(self, home: Path) -> list[Record]:
        assert self._folders is not None
        pictures = list_pictures(home)
        if home == self.root and self._folders.splits:  # a test split beside
            inner = [path for path in self._split_folders() if path != home]
            pictures = [path for path in pictures if not any(path.is_relative_to(folder) for folder in inner)]
        if not self._joint_only:
            self._refuse_separate_files(home, pictures)
        return [self._record(path, path.relative_to(self.root).as_posix()) for path in pictures]

    def _split_folders(self) -> Iterator[Path]:
        assert self._folders is not None
        for place in self._folders.splits.values():
            if isinstance(place, Place):
                yield from (path for path in (place.input, place.target, place.joint) if path is not None)

    def _refuse_separate_files(self, home: Path, pictures: list[Path]) -> None:
        """Refuse pictures that are no two halves each.

        Raises:
            DataError: a name occurs twice, names tell input from target, or the content is that of plain pictures.
        """
        first: dict[str, Path] = {}
        for path in pictures:
            name = unicodedata.normalize("NFC", stem_of(Path(path.name)))
            if name in first:
                one, other = (found.relative_to(self.root).as_posix() for found in (first[name], path))
                raise DataError(
                    f"{self.root}: {one} and {other} have one name, as input and target in folders of an unknown "
                    f"layout have; rename the folders, or {JOINT_ONLY}; {KNOWN}"
                )
            first[name] = path
        if first and (pair := paired_by_name(set(first))):
            raise DataError(
                f"{self.root}: names as {pair[0]} and {pair[1]} tell input from target; move them into two folders "
                f"under one name each, or {JOINT_ONLY}; {KNOWN}"
            )
        why = no_halves(self._readable(sampled(pictures)))
        if why is not None:
            raise DataError(
                f"{home}: {why}, so that input and target would be two parts of one picture; put inputs and "
                f"targets into folders of a known layout, or {JOINT_ONLY}; {KNOWN}"
            )

    def _readable(self, pictures: Sequence[Path]) -> Iterator[Pixels]:
        """Yield the pictures that can be read; others count as broken when they are prepared.

        Both halves have one range, since two would make a seam of their own.
        """
        ranges = [scale.limits for scale in self._scales.values() if scale.limits is not None]
        both = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
        for path in pictures:
            try:
                yield read_shown(path, self._limits, GreyScale(both))[0]
            except DataError:
                continue

    def _record(self, path: Path, key: str, fault: str | None = None, target: Path | None = None) -> Record:
        return Record(printable(path.relative_to(self.root).as_posix()), path, key, fault, target)

    def _halves(self, record: Record) -> tuple[Pixels, Pixels]:
        roles = ("input", "target") if self._input_left else ("target", "input")
        scale = SideBySide(*(self._scales[role] for role in roles))
        both, frame = read_shown(record.picture, self._limits, scale)
        height, width = both.shape[:2]
        if width % 2:
            raise DataError(f"{record.picture}: {width} pixels wide: no two equal halves")
        if height > width and not self._joint_only:
            raise DataError(
                f"{record.picture}: {width}×{height} pixels, taller than wide: no two halves side by side; "
                f"{JOINT_ONLY}"
            )
        if frame.orientation != 1:  # it turns or swaps the halves
            self._turned.append(record.source)
        left, right = both[:, : width // 2], both[:, width // 2 :]
        return (left, right) if self._input_left else (right, left)

    def _compare(self, record: Record, frame: Frame, target: Frame) -> None:
        """Check that a target has the shape of its input, in another size or the same.

        Raises:
            DataError: it has not; says where it would without the EXIF orientation.
        """
        other = frame.orientation != target.orientation
        stored_alike = fits(frame.stored, target.stored)
        if fits(frame.shown, target.shown):
            if other and stored_alike:
                self._turned.append(record.source)
            return
        if other and stored_alike:
            raise DataError(
                f"{record.picture}: EXIF orientation {frame.orientation}, its target has {target.orientation}, and "
                "the shapes fit only without turning; remove the orientation, or give both the same one"
            )
        height, width = frame.shown
        target_height, target_width = target.shown
        raise DataError(
            f"{record.picture}: {width}×{height} pixels, but its target is {target_width}×{target_height}"
        )


def fits(shape: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two (height, width) are one shape: a target may be a larger or smaller picture of the same."""
    (height, width), (other_height, other_width) = shape, other
    return abs(height * other_width - width * other_height) <= max(*shape, *other)


def dealt_out(records: list[Record], root: Path) -> dict[str, list[Record]]:
    """Return train and val of pairs without folders of splits: `VAL_SHARE` of the names are val, by their hash.

    Of few pairs, where the hash leaves one split without a usable pair, the pair with the smallest hash is val, or
    the one with the largest is train. A folder whose hash gives both splits pairs stays as it is.

    Raises:
        DataError: there is one usable pair.
    """
    usable = sorted((record for record in records if not record.fault), key=lambda record: _hash(record.key))
    if len(usable) == 1:
        raise DataError(
            f"{root}: one usable pair, {usable[0].source}, but train and val need one each; add pairs, or folders "
            "train and val"
        )
    val = {record.key for record in records if _hash(record.key) < VAL_SHARE * 2**64}
    if usable and usable[0].key not in val:
        val.add(usable[0].key)
    if usable and usable[-1].key in val:
        val.remove(usable[-1].key)
    return {
        "train": [record for record in records if record.key not in val],
        "val": [record for record in records if record.key in val],
    }


def paired_by_name(names: set[str]) -> tuple[str, str] | None:
    """Return two of the names where each has a counterpart: ``1_B`` of ``1_A``, ``target 1`` of ``input 1``."""
    pairs: dict[str, dict[str, str]] = {}
    for name in names:
        parts = re.split("[ _.-]", name)
        ends = [(parts[-1], parts[:-1]), (parts[0], parts[1:])]
        named = [(role, rest) for end, rest in ends if rest and (role := ROLE_OF.get(end.casefold()))]
        if not named:
            return None
        role, rest = named[0]
        pairs.setdefault(" ".join(rest), {})[role] = name
    if any(len(roles) < 2 for roles in pairs.values()):
        return None
    roles = pairs[min(pairs)]
    return roles["input"], roles["target"]


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(key)).digest()[:8])


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return pictures by path without suffix; accents composed, since archives made on macOS decompose them.

    An NPY file, of a target of numbers, counts where no picture has its name.
    """
    found: dict[str, list[Path]] = {}
    arrays: dict[str, list[Path]] = {}
    for path in files_below(folder, once=False):
        if is_picture(path):
            stem = stem_of(path.relative_to(folder))
            found.setdefault(unicodedata.normalize("NFC", stem), []).append(path)
        elif path.suffix.lower() == ".npy":
            stem = path.relative_to(folder).with_suffix("").as_posix()
            arrays.setdefault(unicodedata.normalize("NFC", stem), []).append(path)
    return {**arrays, **found}
