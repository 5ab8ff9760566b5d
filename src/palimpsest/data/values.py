"""Targets with one number per pixel, such as depth: reading, conversion of units, resizing, counts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palimpsest.data.pictures import Frame, Limits, Pixels, check_regular, read_grey, resize_and_crop
from palimpsest.data.reader import Sample, SampleSpec, ValueScale
from palimpsest.errors import DataError


def read_numbers(path: Path, limits: Limits) -> NDArray[Any]:
    """Return the stored numbers (H, W) of an NPY file, or of a picture with one channel.

    The EXIF orientation of a picture is applied. The numbers of a palette picture are its colour indices.

    Raises:
        DataError: the file is missing, unreadable, too large, or has several numbers per pixel.
    """
    if path.suffix.lower() != ".npy":
        return read_grey(path, limits)
    try:
        check_regular(path, limits)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; add it or remove its entry") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); save it again") from error
    plane = array.squeeze() if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]) else array
    if plane.ndim != 2 or plane.dtype.kind not in "buif":
        raise DataError(
            f"{path}: expected one number per pixel, found {array.dtype} {array.shape}; save an array (H, W)"
        )
    limits.check_size(path, plane.shape[1], plane.shape[0])
    return plane


def read_values(path: Path, picture: Pixels, frame: Frame, spec: SampleSpec) -> Sample:
    """Return the sample of a prepared picture, uint8 (S, S, 3), and of the file ``path`` with one number per pixel.

    ``frame`` is the frame of the picture before resizing. The target is float32 (S, S, 1), NaN for invalid values.

    Raises:
        DataError: the file is unreadable, differs in shape from the picture, or has no valid value in the square.
    """
    numbers = read_numbers(path, spec.limits)
    check_shape(path, numbers.shape, frame)
    values = converted(resize_and_crop(numbers, spec.size, labels=True), spec.values)
    if np.isnan(values).all():
        raise DataError(
            f"{path}: no value is valid{_within(spec.values)}; correct the file, or range and scale of the task"
        )
    return Sample(picture, values[..., None])


def converted(numbers: NDArray[Any], scale: ValueScale) -> NDArray[np.float32]:
    """Return stored numbers as float32 in the unit of the task; infinite and invalid numbers become NaN."""
    values = numbers.astype(np.float64) * scale.scale
    valid = np.isfinite(values)
    if scale.valid is not None:
        valid &= (values >= scale.valid[0]) & (values <= scale.valid[1])
    return np.where(valid, values, np.nan).astype(np.float32)


def check_shape(path: Path, shape: tuple[int, ...], frame: Frame) -> None:
    """Check that a target of this shape, (H, W) or (H, W, C), has the aspect ratio of its picture, as shown.

    The sizes may differ.

    Raises:
        DataError: the aspect ratios differ.
    """
    height, width = frame.shown
    if abs(height * shape[1] - width * shape[0]) > max(height, width, *shape):
        raise DataError(
            f"{path}: {shape[1]}×{shape[0]} pixels, but its picture has {width}×{height}; make the ratios equal"
        )


@dataclass
class ValueCensus:
    """Statistics of the numeric targets of one split while it is prepared."""

    location: str
    """Data set and split, for messages."""
    pixels: int = 0
    """Number of pixels."""
    valid: int = 0
    """Number of pixels with a valid value."""
    total: float = 0.0
    """Sum of the valid values."""
    lowest: float = math.inf
    highest: float = -math.inf

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the values of one target, float32 (S, S, 1); at least one has to be valid, that is not NaN."""
        valid_values = values[np.isfinite(values)]
        self.pixels += values.size
        self.valid += valid_values.size
        self.total += float(valid_values.sum(dtype=np.float64))
        self.lowest = min(self.lowest, float(valid_values.min()))
        self.highest = max(self.highest, float(valid_values.max()))

    def info(self) -> dict[str, float]:
        """Return the fraction of valid pixels and the lowest, mean and highest valid value, for `info.json`."""
        return {
            "valid": round(self.valid / self.pixels, 6),
            "lowest": self.lowest,
            "mean": self.total / self.valid,
            "highest": self.highest,
        }


def note_values(info: dict[str, Any], split: str, census: ValueCensus, log: Callable[[str], None]) -> None:
    """Log the statistics of the numeric targets of a split, and add them to ``info`` (`info.json`)."""
    counts = census.info()
    info.setdefault("values", {})[split] = counts
    log(
        f"{split}: {counts['valid']:.1%} of the pixels have a valid value, from {counts['lowest']:g} to "
        f"{counts['highest']:g}, mean {counts['mean']:g}"
    )


def _within(scale: ValueScale) -> str:
    return (
        "" if scale.valid is None else f" (from {scale.valid[0]:g} to {scale.valid[1]:g} after × {scale.scale:g})"
    )
