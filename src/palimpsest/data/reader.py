"""Interface between data sets of all formats and their preparation.

Each format has a subclass of `DatasetReader`, which `palimpsest.data.formats.FORMATS` names.
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
    """Facts that a reader found in the files of a split, such as the layout of pairs."""

    lines: list[str] = field(default_factory=list)
    """Lines for the log."""
    info: dict[str, object] = field(default_factory=dict)
    """Entries for `info.json`."""


@dataclass(frozen=True)
class ValueScale:
    """Conversion of the numbers in a target file to values in the unit of a task, such as metres."""

    scale: float = 1.0
    """Units per stored number."""
    valid: tuple[float, float] | None = None
    """Smallest and largest valid value, in the unit; other values become NaN."""


@dataclass(frozen=True)
class SampleSpec:
    """Size, type of target, classes and units that a task needs of its samples."""

    size: int
    """Side of the squares, in pixels."""
    target: Target | None = None
    """Type of the targets; None for a task without targets."""
    classes: Classes | None = None
    """Classes of the task; None unless its targets are labels."""
    limits: Limits = DEFAULT_LIMITS
    """Limits on the files of the pictures."""
    values: ValueScale = ValueScale()
    """Conversion of targets that are values; unused for other targets."""


class Sample(NamedTuple):
    """Picture of a data set, resized for preparation, with its target."""

    picture: Pixels
    """uint8 (S, S, 3) RGB."""
    target: NDArray[Any] | None = None
    """Target, in shape and dtype of `SampleSpec.target`; None for a task without targets."""
    labels: Labels | None = None
    """Label map before resizing, with counts of annotations; None unless the target is a label map."""


class DatasetReader(ABC):
    """Reader of a data set: lists the pictures of its splits, and reads pictures with their targets."""

    root: Path
    """Folder of the data set."""

    @property
    def title(self) -> str:
        """Name of the data set in messages: by default its folder."""
        return str(self.root)

    @property
    def roots(self) -> list[Path]:
        """Folders of all data sets that the reader reads."""
        return [self.root]

    @classmethod
    def of(cls, settings: DatasetSettings, root: Path, limits: Limits = DEFAULT_LIMITS) -> typing.Self:
        """Return the reader of the data set in the folder ``root``.

        ``limits`` apply to files that it opens before `read`, which has limits of its own.
        """
        return cls(root)  # type: ignore[call-arg]

    @abstractmethod
    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split of the data set, always in the same order.

        Raises:
            DataError: the split does not exist, or the list of its pictures is damaged.
        """

    @abstractmethod
    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred squares of a picture and its target, scaled to ``spec.size``.

        The target is None if ``spec.target`` is None.

        Raises:
            DataError: a file is missing or unreadable, or picture and target do not fit.
        """

    @property
    def categories(self) -> dict[str, str]:
        """Supercategory by category name; empty for data sets without labels."""
        return {}

    def annotated(self, splits: Iterable[str], listed: Iterable[str]) -> list[dict[str, int]]:
        """Return the number of annotations by category for each split; an empty list if the format has none.

        ``listed`` are the names of categories in the `classes` of a task.
        """
        return []

    def count_annotations(self, split: str) -> int:
        """Return the number of all annotations of a split; 0 for formats without annotations."""
        return 0

    def contents(self, records: Sequence[Record], categories: Sequence[str]) -> str:
        """Return a text for a message: the labels that occur in the pictures of ``records``.

        ``categories`` are the categories that the message is about, because they have no pixel in these pictures.
        """
        return ""

    def take_findings(self) -> Findings | None:
        """Return the findings since the last call and discard them; None for formats without findings.

        The preparation calls this at the end of each split.
        """
        return None


def picture_sample(record: Record, spec: SampleSpec) -> Sample:
    """Return the centred square of a picture, scaled to ``spec.size``, without target."""
    return Sample(read_scaled(record.picture, spec.size, spec.limits)[0])


def labelled_sample(record: Record, spec: SampleSpec, read_labels: Callable[..., Labels]) -> Sample:
    """Return the centred squares of a picture and its label map, scaled to ``spec.size``.

    There is no label map if ``spec.target`` is None. ``read_labels`` is a function of record, label by category,
    label of the other categories, and frame of the picture.
    """
    if spec.target is None:
        return picture_sample(record, spec)
    assert spec.classes is not None
    picture, frame = read_scaled(record.picture, spec.size, spec.limits)
    labels: Labels = read_labels(record, spec.classes.class_of, spec.classes.other_label, frame)
    return Sample(picture, resize_and_crop(labels.map, spec.size, labels=True), labels)
