"""Check that files contain two pictures side by side and are not plain pictures, which must not be cut."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from palimpsest.data.pictures import Pixels

T = TypeVar("T")

SAMPLE = 24
"""Number of files of a folder that are checked."""

SEAM_THRESHOLD = 2.0
"""Median seam below which files count as plain pictures.

Measured on 360 photographs of COCO and VOC, whole and scaled to 256 px, as PNG and as JPEG of quality 75 and 50.
Medians of 24 files: plain photographs 0.8 to 1.5 (99.9 % of the samples); two halves at least 5.5 (photograph and
its grey copy), 7.9 (blurred copy), 7.9 (edges), 8.5 (another photograph). Medians of 5 files: plain photographs at
most 2.2 (99.9 % below 2 except at quality 50), two halves at least 2.9. The check decides for all samples of 24
plain photographs and for 80 to 95 % of those of 5. Two halves with a common border of 2 px or more are accepted
without a decision as PNG and as JPEG of quality 75; at quality 50 borders of 2 and 3 px are refused.
"""

MIN_STEP = 2.0
"""Mean difference of the middle columns, in levels of 255, below which a picture is not evaluated."""

MIN_SEAM = 0.5
"""Seam below which the middle is a border that JPEG has blurred, and a picture is not evaluated."""

REACH = 24
"""Number of columns on either side of the middle with which the seam is compared."""

MIN_FILES = 5
"""Minimum number of evaluated files, or all files of a smaller sample; in any case at least half."""

MIN_COLUMNS = 8
"""Minimum number of columns of a half."""


def seam(picture: Pixels) -> float | None:
    """Return how many times more neighbouring columns differ at the middle of a picture than beside the middle.

    ``picture`` is uint8 (H, W, 3). Two pictures side by side have a large ratio. The difference at a column is the
    largest of three neighbours, since JPEG and scaling blur a seam; beside the middle the median of these
    differences counts. The result is None if the picture is small or its middle is flat, such as a border or the
    white around a drawing.
    """
    middle = picture.shape[1] // 2
    reach = min(REACH, middle - 2)
    if reach < MIN_COLUMNS:
        return None
    columns = picture[:, middle - reach - 1 : middle + reach + 1].astype(np.int16)
    steps = np.abs(np.diff(columns, axis=1)).mean(axis=(0, 2))  # steps[reach] is between the halves
    largest = np.max([steps[:-2], steps[1:-1], steps[2:]], axis=0)
    middle_step, usual_step = largest[reach - 1], np.median(np.delete(largest, range(reach - 3, reach + 2)))
    ratio = float(middle_step / max(usual_step, 0.5))
    return ratio if middle_step >= MIN_STEP and ratio >= MIN_SEAM else None


def sampled(files: Sequence[T]) -> Sequence[T]:
    """Return at most `SAMPLE` of the files, evenly spaced."""
    step = max(1, -(-len(files) // SAMPLE))
    return files[::step]


def fault_of_halves(pictures: Iterable[Pixels]) -> str | None:
    """Return the reason why pictures, uint8 (H, W, 3), cannot be two halves side by side; None if they may be."""
    are_tall: list[bool] = []
    seams: list[float] = []
    for picture in pictures:
        are_tall.append(picture.shape[0] > picture.shape[1])
        strength = seam(picture)
        if strength is not None:
            seams.append(strength)
    if sum(are_tall) * 2 > len(are_tall):
        return f"{sum(are_tall)} of {len(are_tall)} files are taller than wide"
    judged = len(seams) * 2 >= len(are_tall) and len(seams) >= min(MIN_FILES, len(are_tall))
    if seams and judged and float(np.median(seams)) < SEAM_THRESHOLD:
        return (
            f"{len(seams)} files show no seam in the middle ({np.median(seams):.1f} times the usual difference of "
            f"columns, two pictures side by side at least {SEAM_THRESHOLD:g})"
        )
    return None
