"""Interface between data sets of all formats and their preparation.

A format is a subclass of `DatasetReader`, listed in `palimpsest.data.formats.FORMATS`.
"""

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from palimpsest.data.census import Labels
from palimpsest.data.classes import Classes
from palimpsest.data.pictures import DEFAULT_LIMITS, Limits, Pixels, Record, read_scaled, resize_and_crop
from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import Target


@dataclass
class Findings:
    """Findings about the files of a split, as lines for the log and as entries for `info.json`."""

    lines: list[str] = field(default_factory=list)
    info: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ValueScale:
    """Conversion of stored numbers to values in the unit of a task."""

    scale: float = 1.0
    """Units per stored number."""
    valid: tuple[float, float] | None = None
    """Smallest and largest valid value, in the unit; other values become NaN."""


@dataclass(frozen=True)
class SampleSpec:
    """Size, target, classes and units that a task needs of its samples."""

    size: int
    """Side of the squares, in pixels."""
    target: Target | None = None
    classes: Classes | None = None
    """Categories by class, of targets that are labels."""
    limits: Limits = DEFAULT_LIMITS
    values: ValueScale = ValueScale()


class Sample(NamedTuple):
    """Picture at its final size, with its target."""

    picture: Pixels
    """uint8 (S, S, 3) RGB."""
    target: NDArray[Any] | None = None
    """Target, in the shape and dtype of the spec's target; None without a target."""
    labels: Labels | None = None
    """Label map before it was resized, of targets that are labels."""


class DatasetReader(ABC):
    """Reader of a data set: pictures in splits, and their targets."""

    root: Path

    @classmethod
    def of(cls, settings: DatasetSettings, root: Path, limits: Limits = DEFAULT_LIMITS) -> typing.Self:
        """Open the data set in a folder."""
        return cls(root)  # type: ignore[call-arg]

    @abstractmethod
    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split, always in the same order."""

    @abstractmethod
    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Read a picture and its target.

        Raises:
            DataError: a file is missing or unreadable, or picture and target do not fit.
        """

    @property
    def categories(self) -> dict[str, str]:
        """Supercategory by category name, for data sets with labels."""
        return {}

    def annotated(self, splits: Iterable[str], listed: Iterable[str]) -> list[dict[str, int]]:
        """Return the number of annotations by category for each split; an empty list without annotations."""
        return []

    def count_annotations(self, split: str) -> int:
        """Return the number of all annotations of a split."""
        return 0

    def contents(self, records: Sequence[Record], categories: Sequence[str]) -> str:
        """Describe the labels of these pictures; ``categories`` are those without a pixel."""
        return ""

    def take_findings(self) -> Findings | None:
        """Return the findings since the last call, at the end of a split; None for formats without any."""
        return None


def picture_sample(record: Record, spec: SampleSpec) -> Sample:
    """Read a picture without a target."""
    return Sample(read_scaled(record.picture, spec.size, spec.limits)[0])


def labelled_sample(record: Record, spec: SampleSpec, read_labels: Callable[..., Labels]) -> Sample:
    """Read a picture and its label map, or only the picture if the form has no target.

    ``read_labels`` is a function of record, label by category, label of other categories, and frame of the picture.
    """
    if spec.target is None:
        return picture_sample(record, spec)
    assert spec.classes is not None
    picture, frame = read_scaled(record.picture, spec.size, spec.limits)
    labels: Labels = read_labels(record, spec.classes.class_of, spec.classes.other_label, frame)
    return Sample(picture, resize_and_crop(labels.map, spec.size, labels=True), labels)
