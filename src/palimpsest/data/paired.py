"""Pairs of pictures: an input and its target.

Input and target have the same name in two folders (suffixes may differ), or are the halves of one joint file, as in
pix2pix (Isola et al., CVPR 2017). `palimpsest.data.pair_folders` lists the layouts, `palimpsest.data.pair_splits`
divides folders without splits.
"""

import os
import re
import typing
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from palimpsest.data.files import files_below
from palimpsest.data.grey import GreyScale, SideBySide
from palimpsest.data.halves import fault_of_halves, sampled
from palimpsest.data.pair_folders import (
    KNOWN_LAYOUTS,
    ROLE_OF,
    SPLIT_OF,
    SPLITS,
    PairFolders,
    SplitFolders,
    find_pair_folders,
)
from palimpsest.data.pair_splits import split_by_hash, split_exactly
from palimpsest.data.paired_settings import PairedDatasetSettings
from palimpsest.data.pictures import (
    DEFAULT_LIMITS,
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
from palimpsest.data.reader import DatasetReader, Findings, Sample, SampleSpec, picture_sample
from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import VALUES
from palimpsest.data.values import read_values
from palimpsest.errors import DataError, printable, unknown_name

Halves = Literal["input-left", "target-left"]
Layout = Literal["auto", "side-by-side"]

JOINT_ADVICE = "set datasets.NAME.layout to side-by-side if every file contains both halves"
FOLDER_ADVICE = "name the folders with --input and --target"


class PairedFolder(DatasetReader):
    """Reader of a folder of pairs, with splits ``train``, ``val`` and ``test``."""

    def __init__(
        self,
        root: Path,
        order: Halves = "input-left",
        *,
        layout: Layout = "auto",
        limits: Limits = DEFAULT_LIMITS,
        exact: bool = False,
        names_settings: bool = True,
        input_range: tuple[float, float] | None = None,
        target_range: tuple[float, float] | None = None,
    ) -> None:
        """Check that ``root`` is a folder; its files are read when a method needs them.

        ``order`` is the order of the halves in joint files. With ``layout`` side-by-side every file is a joint
        file. The ranges become black and white in grey pictures of 16 bits and more; None for the full range.
        With ``exact`` a folder without splits is divided by `split_exactly` instead of `split_by_hash`. With
        ``names_settings`` messages name the settings of `params.yaml` instead of options of the command line.

        Raises:
            DataError: there is no such folder.
        """
        self.root = Path(root)
        self._input_left = order == "input-left"
        self._joint_only = layout == "side-by-side"
        self._limits = limits
        self._divide = split_exactly if exact else split_by_hash
        self._splits_key = "tasks.NAME.splits" if names_settings else "--split"
        self._advice = JOINT_ADVICE if names_settings else FOLDER_ADVICE
        self._scales = {
            "input": GreyScale(input_range, "input_range"),
            "target": GreyScale(target_range, "target_range"),
        }
        self._folders: PairFolders | None = None
        self._current: SplitFolders | None = None
        self._listed: dict[SplitFolders, list[Record]] = {}
        self._turned: list[str] = []
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; correct the root of the data set")

    def records(self, split: str) -> list[Record]:
        """Return the pairs of a split, sorted by name.

        A picture without counterpart, and pictures of equal names, are records with a `fault`.

        Raises:
            DataError: the split does not exist, the layout is unknown, or train and val have one pair in total.
        """
        name = SPLIT_OF.get(split.casefold())
        if name is None:
            raise DataError(f"{self.title}: {unknown_name(split, SPLITS, 'split', self._splits_key)}")
        if self._folders is None:
            self._folders = find_pair_folders(self.root, self._joint_only)
        folders = self._folders.splits.get(name)
        if isinstance(folders, DataError):
            raise folders
        if folders is not None:
            return list(self._pairs(folders))
        records = self._pairs(self._folders.undivided) if self._folders.undivided and name != "test" else []
        if not records and self._folders.splits:
            names = list(self._folders.splits)
            advice = f", or set {self._splits_key} to {{val: test}}" if name == "val" and "test" in names else ""
            raise DataError(
                f"{self.root}: no folder of the split {split!r}, only of {', '.join(names)}; add one{advice}"
            )
        return self._divide(records, self.title)[name] if records else []

    @classmethod
    def of(cls, settings: DatasetSettings, root: Path, limits: Limits = DEFAULT_LIMITS) -> typing.Self:
        """Return the reader of the data set in the folder ``root``; see `DatasetReader.of`."""
        assert isinstance(settings, PairedDatasetSettings)
        return cls(
            root,
            "input-left" if settings.input_side == "left" else "target-left",
            layout=settings.layout,
            limits=limits,
            input_range=settings.input_range,
            target_range=settings.target_range,
        )

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred squares of input and target, scaled to ``spec.size``.

        Without ``spec.target`` the sample is the input alone, or the whole joint file. If the target is `VALUES`,
        the file of the target contains a number per pixel.

        Raises:
            DataError: as `pair`; or the target is `VALUES`, and the file is a joint file or has no valid value.
        """
        if spec.target is None:
            return picture_sample(record, spec)
        if spec.target == VALUES:
            return self._with_values(record, spec)
        picture, target = (resize_and_crop(pixels, spec.size, labels=False) for pixels in self.pair(record))
        return Sample(picture, target)

    def pair(self, record: Record) -> tuple[Pixels, Pixels]:
        """Return input and target, uint8 (H, W, 3) RGB each; grey pictures stay grey (r = g = b).

        Raises:
            DataError: a file is missing or unreadable, the shapes differ, or a joint file has no two halves.
        """
        if record.target is None:
            return self._halves(record)
        picture, frame = read_shown(record.picture, self._limits, self._scales["input"])
        target, target_frame = read_shown(record.target, self._limits, self._scales["target"])
        self._compare(record, frame, target_frame)
        return picture, target

    def _with_values(self, record: Record, spec: SampleSpec) -> Sample:
        if record.target is None:
            raise DataError(
                f"{record.picture}: a file with both halves has no numeric target; save both separately"
            )
        pixels, frame = read_shown(record.picture, self._limits, self._scales["input"])
        return read_values(record.target, resize_and_crop(pixels, spec.size, labels=False), frame, spec)

    def take_findings(self) -> Findings:
        """Return layout, grey values and doubtful orientations since the last call; restart the counts."""
        findings = Findings()
        if self._current is not None:
            findings.info["layout"] = self._current.describe(self.root)
            findings.lines.append(str(findings.info["layout"]))
        if self._folders is not None and self._folders.notes:
            findings.info["notes"] = list(self._folders.notes)
            findings.lines += self._folders.notes
        for role, scale in self._scales.items():
            summary = scale.summary()
            if summary is not None:
                findings.info[role] = summary
                findings.lines.append(f"{role}s: {scale.describe()}")
            scale.restart()
        if self._turned:
            findings.info["orientation_in_one"] = self._turned
            examples = ", ".join(self._turned[:5]) + (", …" if len(self._turned) > 5 else "")
            findings.lines.append(
                "pairs in which only one picture has an EXIF orientation, and whose shapes do not show whether it "
                f"is correct: {len(self._turned)}; look at {examples}"
            )
            self._turned = []
        return findings

    def _pairs(self, folders: SplitFolders) -> list[Record]:
        self._current = folders
        if folders not in self._listed:
            self._listed[folders] = (
                self._joint_records(folders.joint) if folders.joint is not None else self._separate_records(folders)
            )
        return self._listed[folders]

    def _separate_records(self, folders: SplitFolders) -> list[Record]:
        assert folders.input is not None and folders.target is not None
        inputs, targets = _by_stem(folders.input), _by_stem(folders.target)
        records = []
        for stem in sorted(inputs.keys() | targets.keys()):
            picture, target = inputs.get(stem, []), targets.get(stem, [])
            duplicates = next((paths for paths in (picture, target) if len(paths) > 1), None)
            fault = None
            if duplicates:
                fault = f"one name for several pictures: {', '.join(path.name for path in duplicates)}"
            elif not picture:
                fault = "no input has this name"
            elif not target:
                fault = "no target has this name"
            file = target[0] if target and not fault else None
            records.append(self._record((picture or target)[0], stem, fault, file))
        return records

    def _joint_records(self, folder: Path) -> list[Record]:
        assert self._folders is not None
        pictures = list_pictures(folder)
        if folder == self.root and self._folders.splits:  # there is a split test
            inner = [path for path in self._split_folders() if path != folder]
            pictures = [
                path for path in pictures if not any(path.is_relative_to(split_folder) for split_folder in inner)
            ]
        if not self._joint_only:
            self._refuse_separate_files(folder, pictures)
        return [self._record(path, path.relative_to(self.root).as_posix()) for path in pictures]

    def _split_folders(self) -> Iterator[Path]:
        assert self._folders is not None
        for folders in self._folders.splits.values():
            if isinstance(folders, SplitFolders):
                yield from (path for path in (folders.input, folders.target, folders.joint) if path is not None)

    def _refuse_separate_files(self, folder: Path, pictures: list[Path]) -> None:
        """Check that the pictures of a folder seem to be joint files, with both halves side by side.

        Raises:
            DataError: a name occurs twice, names denote inputs and targets, or the pictures have no seam.
        """
        path_by_name: dict[str, Path] = {}
        for path in pictures:
            name = unicodedata.normalize("NFC", stem_of(Path(path.name)))
            if name in path_by_name:
                earlier, later = (file.relative_to(self.root).as_posix() for file in (path_by_name[name], path))
                raise DataError(
                    f"{self.root}: {earlier} and {later} have one name, like input and target of an unknown "
                    f"layout; rename the folders, or {self._advice}; {KNOWN_LAYOUTS}"
                )
            path_by_name[name] = path
        if path_by_name and (pair := paired_by_name(set(path_by_name))):
            raise DataError(
                f"{self.root}: names such as {pair[0]} and {pair[1]} denote input and target; move them into two "
                f"folders under equal names, or {self._advice}; {KNOWN_LAYOUTS}"
            )
        reason = fault_of_halves(self._readable(sampled(pictures)))
        if reason is not None:
            raise DataError(
                f"{folder}: {reason}, so the files are probably not pairs; put inputs and targets into folders of "
                f"a known layout, or {self._advice}; {KNOWN_LAYOUTS}"
            )

    def _readable(self, pictures: Sequence[Path]) -> Iterator[Pixels]:
        """Yield the pixels of the readable files, uint8 (H, W, 3); preparation reports the others as broken.

        Both halves are converted with one range, since different ranges would cause a seam.
        """
        ranges = [scale.limits for scale in self._scales.values() if scale.limits is not None]
        common_range = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
        for path in pictures:
            try:
                yield read_shown(path, self._limits, GreyScale(common_range, "input_range"))[0]
            except DataError:
                continue

    def _record(self, path: Path, key: str, fault: str | None = None, target: Path | None = None) -> Record:
        return Record(printable(path.relative_to(self.root).as_posix()), path, key, fault, target)

    def _halves(self, record: Record) -> tuple[Pixels, Pixels]:
        roles = ("input", "target") if self._input_left else ("target", "input")
        scale = SideBySide(*(self._scales[role] for role in roles))
        pixels, frame = read_shown(record.picture, self._limits, scale)
        height, width = pixels.shape[:2]
        if width % 2:
            raise DataError(f"{record.picture}: a width of {width} pixels has no two equal halves; crop it")
        if height > width and not self._joint_only:
            raise DataError(
                f"{record.picture}: {width}×{height} pixels, taller than wide, cannot be two halves side by side; "
                f"{self._advice}"
            )
        if frame.orientation != 1:  # it may exchange the halves
            self._turned.append(record.source)
        left, right = pixels[:, : width // 2], pixels[:, width // 2 :]
        return (left, right) if self._input_left else (right, left)

    def _compare(self, record: Record, frame: Frame, target: Frame) -> None:
        """Check that a target has the aspect ratio of its input, both as shown; the sizes may differ.

        A pair whose shapes fit but whose orientations differ is added to the findings.

        Raises:
            DataError: the aspect ratios differ.
        """
        differ = frame.orientation != target.orientation
        stored_alike = same_aspect_ratio(frame.stored, target.stored)
        if same_aspect_ratio(frame.shown, target.shown):
            if differ and stored_alike:
                self._turned.append(record.source)
            return
        if differ and stored_alike:
            raise DataError(
                f"{record.picture}: EXIF orientation {frame.orientation}, its target {record.target} has "
                f"{target.orientation}, and the shapes fit only without rotation; remove the orientations, or make "
                "them equal"
            )
        height, width = frame.shown
        target_height, target_width = target.shown
        raise DataError(
            f"{record.picture}: {width}×{height} pixels, but its target {record.target} has "
            f"{target_width}×{target_height}; give both one aspect ratio"
        )


class TwoFolders(PairedFolder):
    """Reader of a folder of inputs and a folder of targets with the same names, anywhere on the disk."""

    def __init__(self, inputs: Path, targets: Path, *, limits: Limits, exact: bool) -> None:
        """Check that both are different folders; their files are read when a method needs them.

        The parameters are those of `PairedFolder`.

        Raises:
            DataError: a folder does not exist, or both are one folder.
        """
        self._two = (inputs, targets)
        for folder in self._two:
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder; correct the path")
        if os.path.realpath(inputs) == os.path.realpath(targets):
            raise DataError(f"{targets}: is also the folder of inputs; name another folder")
        if inputs.is_absolute() != targets.is_absolute():
            inputs, targets = inputs.absolute(), targets.absolute()
        super().__init__(
            Path(os.path.commonpath([inputs, targets])), limits=limits, exact=exact, names_settings=False
        )
        self._folders = PairFolders({}, SplitFolders(input=inputs, target=targets))

    @property
    def title(self) -> str:
        """Both folders, as they were named."""
        return " and ".join(map(str, self._two))


def same_aspect_ratio(shape: tuple[int, int], target: tuple[int, int]) -> bool:
    """Return whether two sizes (height, width) have the same aspect ratio, up to the rounding of a side."""
    (height, width), (target_height, target_width) = shape, target
    return abs(height * target_width - width * target_height) <= max(*shape, *target)


def paired_by_name(names: set[str]) -> tuple[str, str] | None:
    """Return an input and its target if each name has a counterpart, as ``1_A`` and ``1_B``; None otherwise."""
    pairs: dict[str, dict[str, str]] = {}
    for name in names:
        parts = re.split("[ _.-]", name)
        ends = [(parts[-1], parts[:-1]), (parts[0], parts[1:])]
        named = [
            (role, name_parts) for end, name_parts in ends if name_parts and (role := ROLE_OF.get(end.casefold()))
        ]
        if not named:
            return None
        role, name_parts = named[0]
        pairs.setdefault(" ".join(name_parts), {})[role] = name
    if any(len(roles) < 2 for roles in pairs.values()):
        return None
    roles = pairs[min(pairs)]
    return roles["input"], roles["target"]


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures and NPY files below a folder by path without suffix, relative to it.

    Paths are in Unicode form NFC, since archives from macOS decompose accents. A picture takes precedence over an
    NPY file of the same name.
    """
    pictures: dict[str, list[Path]] = {}
    arrays: dict[str, list[Path]] = {}
    for path in files_below(folder, unique=False):
        if is_picture(path):
            stem = stem_of(path.relative_to(folder))
            pictures.setdefault(unicodedata.normalize("NFC", stem), []).append(path)
        elif path.suffix.lower() == ".npy":
            stem = path.relative_to(folder).with_suffix("").as_posix()
            arrays.setdefault(unicodedata.normalize("NFC", stem), []).append(path)
    return {**arrays, **pictures}
