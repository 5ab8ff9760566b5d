"""Census of the labels of a split: fraction of each class, and faulty annotations.

Scores would be meaningless if a class had no pixel or too many annotations covered none.
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

MAX_LISTED = 20
"""Maximum number of faults listed per split; further faults are only counted."""

MIN_FAULTY = 1000
"""Number of faulty annotations before the check may stop within a large split; smaller splits are read in full."""


@dataclass(frozen=True)
class Labels:
    """Label map of one photograph before resizing, with counts of the annotations that it was painted from."""

    map: Pixels
    """Label of each pixel, uint8 (H, W); 255 is ignored."""
    read: int = 0
    """Number of annotations with a label other than background; 0 for formats without annotations."""
    crowd: int = 0
    """Number of crowd regions (`iscrowd` of COCO); `read` includes them."""
    faults: tuple[Fault, ...] = ()
    turned: Turned | None = None
    """Frame in which the annotations were read; None unless EXIF turns the picture by 90°."""


def _no_pixels() -> NDArray[np.int64]:
    return np.zeros(256, np.int64)


@dataclass
class Census:
    """Numbers of pixels, annotations and faults in one split while it is prepared."""

    location: str
    """Data set and split, for messages."""
    names: Sequence[str]
    """Classes by label, background first."""
    names_settings: bool = True
    """True if messages may advise to change settings of `params.yaml`."""
    pixels: NDArray[np.int64] = field(default_factory=_no_pixels)
    """Number of pixels by label on the prepared label maps."""
    read: int = 0
    """Sum of `Labels.read`."""
    crowd: int = 0
    """Sum of `Labels.crowd`."""
    kinds: Counter[Kind] = field(default_factory=Counter)
    """Numbers of faults by kind."""
    turned: Counter[str] = field(default_factory=Counter)
    """Number of pictures turned by EXIF, by the frame of their annotations, ``shown`` or ``stored``."""
    deciding: int = 0
    """Number of pictures that decide this frame (`Turned.deciding`)."""
    cut_off: Counter[int] = field(default_factory=Counter)
    """Number of pictures in which only scaling and cropping removed the pixels of a label, by label."""
    _first_faults: dict[bool, list[Fault]] = field(default_factory=lambda: {True: [], False: []}, init=False)

    def add(self, labels: Pixels, original: Labels) -> None:
        """Count the pixels of a prepared label map, and the annotations of its original before resizing."""
        self.pixels += np.bincount(labels.ravel(), minlength=256)
        self.add_annotations(original)
        empty = self._empty()
        if empty:
            whole = np.bincount(original.map.ravel(), minlength=256)
            self.cut_off.update(label for label in empty if whole[label])

    def add_annotations(self, original: Labels) -> None:
        """Count the annotations of a label map alone, without pixels."""
        self.read += original.read
        self.crowd += original.crowd
        for fault in original.faults:
            self.kinds[fault.kind] += 1
            listed = self._first_faults[fault.kind == "faulty"]
            if len(listed) < MAX_LISTED:
                listed.append(fault)
        if original.turned is not None:
            self.turned["shown" if original.turned.as_shown else "stored"] += 1
            self.deciding = original.turned.deciding

    @property
    def faults(self) -> list[Fault]:
        """At most `MAX_LISTED` faults of the split; faults of kind ``faulty`` precede the harmless kinds."""
        return [*self._first_faults[True], *self._first_faults[False]][:MAX_LISTED]

    def check_annotations(self, max_share: float, available: int | None = None) -> None:
        """Check that at most the fraction ``max_share`` of the annotations is faulty.

        While a split is read, ``available`` is the number of all its annotations. The fraction is then that of this
        number, and the check passes below `MIN_FAULTY` faulty annotations.

        Raises:
            DataError: too many annotations are faulty; the message has examples.
        """
        faulty = self.kinds["faulty"]
        read, prefix = (self.read, "") if available is None else (max(self.read, available), "at least ")
        if available is not None and faulty < MIN_FAULTY:
            return
        if faulty > max_share * read:
            examples = "; ".join(map(str, self._first_faults[True][:3]))
            advice = ", or raise pictures.broken_share" if self.names_settings else ""
            raise DataError(
                f"{self.location}: {prefix}{faulty} of {read} annotations cannot be painted, and the limit is "
                f"{max_share:.1%}; correct or remove them{advice}: {examples}"
            )

    def check_classes(self, contents: Callable[[list[str]], str]) -> None:
        """Check that each class has a pixel.

        ``contents`` returns a text about the labels in the files, given the names of the classes without a pixel.

        Raises:
            DataError: a class has no pixel.
        """
        empty = self._empty()
        if empty:
            names = [self.names[label] for label in empty]
            remedy = "correct the annotations or the task's classes, or use more pictures"
            cut_off = [f"{self.names[label]!r} in {self.cut_off[label]}" for label in empty if self.cut_off[label]]
            if cut_off:
                remedy = (
                    f"pictures whose centred square lacks the annotated objects, or is too small for them: "
                    f"{', '.join(cut_off)}; crop them around the objects, raise pictures.size, or use more pictures"
                )
            raise DataError(
                f"{self.location}: no pixel is of the class {', '.join(map(repr, names))}; found instead: "
                f"{describe_shares(self.shares(), self.ignored())}; {contents(names)}; {remedy}"
            )

    def shares(self) -> dict[str, float]:
        """Return the fraction of all pixels that each class has, by the name of the class."""
        return {name: self._share(label) for label, name in enumerate(self.names)}

    def ignored(self) -> float:
        """Return the fraction of the pixels that loss and metrics ignore."""
        return self._share(IGNORED)

    def info(self) -> dict[str, Any]:
        """Return fractions of classes, and counts of annotations and of turned pictures if any, for `info.json`."""
        counts: dict[str, Any] = {"classes": self.shares(), "ignored": self.ignored()}
        if self.read:
            kinds = {kind: self.kinds[kind] for kind in get_args(Kind)}
            counts["annotations"] = {"read": self.read, **kinds, "crowd": self.crowd}
        if self.turned:
            counts["turned"] = {frame: self.turned[frame] for frame in ("shown", "stored")}
            counts["turned"]["deciding"] = self.deciding
        return counts

    def listed(self, split: str) -> list[dict[str, str]]:
        """Return `faults` as entries of `info.json`: split, source, annotation and reason."""
        return [
            {"split": split, "source": fault.source, "annotation": fault.annotation, "reason": fault.reason}
            for fault in self.faults
        ]

    def lines(self) -> list[str]:
        """Return lines for the log: `faults`, and the number of further faults."""
        unlisted = self.kinds.total() - len(self.faults)
        summary = [f"{unlisted} more annotations are faulty, small or clipped"] if unlisted else []
        return [*map(str, self.faults), *summary]

    def _empty(self) -> list[int]:
        """Return the labels of the classes without a pixel."""
        return [label for label in range(1, len(self.names)) if not self.pixels[label]]

    def _share(self, label: int) -> float:
        return round(float(self.pixels[label] / max(1, self.pixels.sum())), 6)


def describe_shares(shares: Mapping[str, float], ignored: float) -> str:
    """Return the fractions of the classes and of ignored pixels as one line of text, in per cent."""
    return ", ".join(f"{name} {share:.2%}" for name, share in [*shares.items(), ("ignored (255)", ignored)])


def census_lines(info: Mapping[str, Any]) -> list[str]:
    """Return lines for the log about the labels of each split in an `info.json`; none for a task without labels."""
    lines = []
    for split, counts in info.get("labels", {}).items():
        shares = {name: counts["classes"][name] for name in info["classes"]}  # the file sorts names
        lines.append(f"{split}: {describe_shares(shares, counts['ignored'])}")
        annotations = counts.get("annotations")
        if annotations:
            order = ("read", *get_args(Kind), "crowd")
            numbers = ", ".join(f"{annotations[key]:,} {key}" for key in order)
            lines.append(f"{split}: annotations: {numbers}")
        turned = counts.get("turned")
        if turned:
            frames = f"annotations of {turned['shown']:,} read as shown, of {turned['stored']:,} as stored"
            lines.append(f"{split}: pictures turned by EXIF: {frames}; {turned['deciding']:,} pictures decide")
    return lines
