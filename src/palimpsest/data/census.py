"""Census of a split's labels: share of each class, and annotations that are not painted as they were meant.

A split in which a class has no pixel, or too many annotations paint nothing, would give scores without meaning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palimpsest.data.outlines import Fault
from palimpsest.data.pictures import IGNORED, Pixels
from palimpsest.errors import DataError

LISTED = 20
"""Faulty annotations that are listed by split; the others are counted."""

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
    faults: list[Fault] = field(default_factory=list)

    def add(self, labels: Pixels, found: Labels) -> None:
        """Count a prepared label map, and the annotations that it was painted from."""
        self.pixels += np.bincount(labels.ravel(), minlength=256)
        self.read += found.read
        self.crowd += found.crowd
        self.faults += found.faults

    def check_annotations(self, max_share: float, available: int | None = None) -> None:
        """Raise `DataError` where more than this share of the annotations is faulty.

        Before the split is complete, ``available`` is the number of annotations that it has at most: the check
        then fails as soon as sound ones cannot make up for the faulty ones, but not before `TELLING` are known.
        """
        faulty = [fault for fault in self.faults if not fault.harmless]
        read, least = (self.read, "") if available is None else (max(self.read, available), "at least ")
        if available is not None and len(faulty) < TELLING:
            return
        if len(faulty) > max_share * read:
            raise DataError(
                f"{self.where}: {least}{len(faulty)} of {read} annotations cannot be painted, and {max_share:.1%} "
                f"may be; mend or remove them, or raise pictures.broken_share: {'; '.join(map(str, faulty[:3]))}"
            )

    def check_classes(self, contents: Callable[[list[str]], str]) -> None:
        """Raise `DataError` where a class has no pixel.

        ``contents`` describes what the data set's files hold, given the classes that are missing.
        """
        empty = [name for label, name in enumerate(self.names) if label and not self.pixels[label]]
        if empty:
            raise DataError(
                f"{self.where}: no pixel is of the class {', '.join(map(repr, empty))}; found instead: "
                f"{described(self.shares(), self.ignored())}; {contents(empty)}; correct the annotations or the "
                f"task's classes, or use more pictures"
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
            small = sum(fault.harmless for fault in self.faults)
            faulty = len(self.faults) - small
            counts["annotations"] = {"read": self.read, "faulty": faulty, "small": small, "crowd": self.crowd}
        return counts

    def listed(self, split: str) -> list[dict[str, str]]:
        """Return the first faulty annotations for `info.json`, those that count before the harmless ones."""
        first = sorted(self.faults, key=lambda fault: fault.harmless)[:LISTED]
        return [
            {"split": split, "source": fault.source, "annotation": fault.annotation, "reason": fault.reason}
            for fault in first
        ]

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
            told = ", ".join(f"{annotations[what]:,} {what}" for what in ("read", "faulty", "small", "crowd"))
            lines.append(f"{split}: annotations: {told}")
    return lines
