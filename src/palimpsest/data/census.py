"""Census of a split's labels: share of each class, and annotations that are not painted as they were meant.

A split in which a class has no pixel, or too many annotations paint nothing, would give scores without meaning.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from palimpsest.data.outlines import Fault, Kind
from palimpsest.data.pictures import IGNORED, Pixels
from palimpsest.data.turned import Turned
from palimpsest.errors import DataError

LISTED = 20
"""Faults that are kept and listed by split; the others are counted."""

TELLING = 1000
"""Faulty annotations that are counted before a large split is given up early; of smaller ones all are counted."""


@dataclass(frozen=True)
class Labels:
    """Label map of one photograph, and the annotations that it was painted from."""

    map: Pixels
    read: int = 0
    """Number of annotations that belong to a class or are ignored; others leave the background as it is."""
    crowd: int = 0
    faults: tuple[Fault, ...] = ()
    turned: Turned | None = None
    """Frame of its annotations, if EXIF turns the picture by 90°."""


def _no_pixels() -> NDArray[np.int64]:
    return np.zeros(256, np.int64)


@dataclass
class Census:
    """Counts of one prepared split."""

    where: str
    names: Sequence[str]
    """Classes by label, background first."""
    pixels: NDArray[np.int64] = field(default_factory=_no_pixels)
    """Pixels by label on the prepared label maps."""
    read: int = 0
    crowd: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    """Numbers of faults by kind."""
    turned: Counter[str] = field(default_factory=Counter)
    """Pictures turned by EXIF, by the frame that their annotations are read in."""
    deciding: int = 0
    cut_off: Counter[int] = field(default_factory=Counter)
    """Pictures by label that have pixels of it before scaling and cropping; only of labels without a pixel."""
    _first: dict[bool, list[Fault]] = field(default_factory=lambda: {True: [], False: []}, init=False)

    def add(self, labels: Pixels, found: Labels) -> None:
        """Count a prepared label map, and the annotations that it was painted from."""
        self.pixels += np.bincount(labels.ravel(), minlength=256)
        self.read += found.read
        self.crowd += found.crowd
        for fault in found.faults:
            self.kinds[fault.kind] += 1
            first = self._first[fault.kind == "faulty"]
            if len(first) < LISTED:
                first.append(fault)
        if found.turned is not None:
            self.turned["shown" if found.turned.as_shown else "stored"] += 1
            self.deciding = found.turned.deciding
        empty = self._empty()
        if empty:
            whole = np.bincount(found.map.ravel(), minlength=256)
            self.cut_off.update(label for label in empty if whole[label])

    @property
    def faults(self) -> list[Fault]:
        """Return the first faults: those that count before the harmless ones."""
        return [*self._first[True], *self._first[False]][:LISTED]

    def check_annotations(self, max_share: float, available: int | None = None) -> None:
        """Raise `DataError` where more than this share of the annotations is faulty.

        Before the split is complete, ``available`` is the number of annotations that it has at most: the check
        then fails as soon as sound ones cannot make up for the faulty ones, but not before `TELLING` are known.
        """
        faulty = self.kinds["faulty"]
        read, least = (self.read, "") if available is None else (max(self.read, available), "at least ")
        if available is not None and faulty < TELLING:
            return
        if faulty > max_share * read:
            first = "; ".join(map(str, self._first[True][:3]))
            raise DataError(
                f"{self.where}: {least}{faulty} of {read} annotations cannot be painted, and {max_share:.1%} "
                f"may be; mend or remove them, or raise pictures.broken_share: {first}"
            )

    def check_classes(self, contents: Callable[[list[str]], str]) -> None:
        """Raise `DataError` where a class has no pixel.

        ``contents`` describes what the data set's files hold, given the classes that are missing.
        """
        empty = self._empty()
        if empty:
            names = [self.names[label] for label in empty]
            remedy = "correct the annotations or the task's classes, or use more pictures"
            cut_off = [f"{self.names[label]!r} in {self.cut_off[label]}" for label in empty if self.cut_off[label]]
            if cut_off:
                remedy = (
                    f"pictures whose centred square lacks what is annotated, or is too small for it: "
                    f"{', '.join(cut_off)}; crop them around the objects, raise pictures.size, or use more pictures"
                )
            raise DataError(
                f"{self.where}: no pixel is of the class {', '.join(map(repr, names))}; found instead: "
                f"{described(self.shares(), self.ignored())}; {contents(names)}; {remedy}"
            )

    def shares(self) -> dict[str, float]:
        """Return the share of the pixels by class."""
        return {name: self._share(label) for label, name in enumerate(self.names)}

    def ignored(self) -> float:
        """Return the share of the pixels that take no part in loss and metrics."""
        return self._share(IGNORED)

    def info(self) -> dict[str, Any]:
        """Return the counts for `info.json`."""
        counts: dict[str, Any] = {"classes": self.shares(), "ignored": self.ignored()}
        if self.read:
            kinds = {kind: self.kinds[kind] for kind in get_args(Kind)}
            counts["annotations"] = {"read": self.read, **kinds, "crowd": self.crowd}
        if self.turned:
            counts["turned"] = {frame: self.turned[frame] for frame in ("shown", "stored")}
            counts["turned"]["deciding"] = self.deciding
        return counts

    def listed(self, split: str) -> list[dict[str, str]]:
        """Return the first faults for `info.json`."""
        return [
            {"split": split, "source": fault.source, "annotation": fault.annotation, "reason": fault.reason}
            for fault in self.faults
        ]

    def lines(self) -> list[str]:
        """Return the first faults for the log, and the number of the others."""
        rest = self.kinds.total() - len(self.faults)
        more = [f"{rest} more annotations are faulty, small or clipped"] if rest else []
        return [*map(str, self.faults), *more]

    def _empty(self) -> list[int]:
        """Return the labels of the classes without a pixel."""
        return [label for label in range(1, len(self.names)) if not self.pixels[label]]

    def _share(self, label: int) -> float:
        return round(float(self.pixels[label] / max(1, self.pixels.sum())), 6)


def described(shares: Mapping[str, float], ignored: float) -> str:
    """Return the shares of classes in per cent as one line of text."""
    return ", ".join(f"{name} {share:.2%}" for name, share in [*shares.items(), ("ignored (255)", ignored)])


def table(info: Mapping[str, Any]) -> list[str]:
    """Return lines by split of an `info.json`: shares of the classes, and counts of annotations."""
    lines = []
    for split, counts in info.get("labels", {}).items():
        shares = {name: counts["classes"][name] for name in info["classes"]}  # the file sorts names
        lines.append(f"{split}: {described(shares, counts['ignored'])}")
        annotations = counts.get("annotations")
        if annotations:
            order = ("read", *get_args(Kind), "crowd")
            numbers = ", ".join(f"{annotations[what]:,} {what}" for what in order)
            lines.append(f"{split}: annotations: {numbers}")
        turned = counts.get("turned")
        if turned:
            frames = f"annotations of {turned['shown']:,} read as shown, of {turned['stored']:,} as stored"
            lines.append(f"{split}: pictures turned by EXIF: {frames}; {turned['deciding']:,} pictures decide")
    return lines
