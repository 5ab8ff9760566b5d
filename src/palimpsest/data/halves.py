"""Check that files hold two pictures side by side, and are not plain pictures that would be cut in the middle."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from palimpsest.data.pictures import Pixels

T = TypeVar("T")

SAMPLE = 24
"""Files of a folder that are looked at."""

WEAKEST_SEAM = 2.0
"""The median seam below which files count as plain pictures.

Measured on 360 photographs of COCO and VOC, whole and scaled to 256 px, as PNG and as JPEG of quality 75 and 50.
Medians of 24 files: plain photographs 0.8 to 1.5 (99.9 % of the samples), two halves at least 5.5 (photograph and
its grey copy), 7.9 (blurred copy), 7.9 (edges), 8.5 (another photograph). Medians of 5 files: at most 2.2 (99.9 %
below 2 but for quality 50), and at least 2.9. Of samples of 24 plain photographs all are judged, of 5 80 to 95 %.
Two halves with one common border of 2 px and more are not judged as PNG and as JPEG of quality 75; at quality 50
borders of 2 and 3 px are refused.
"""

FLAT = 2.0
"""Mean difference of neighbouring columns, in levels of 255, below which the middle shows nothing to judge by."""

CALMEST_SEAM = 0.5
"""The seam below which the middle is a border that JPEG has blurred, and shows nothing to judge by either."""

REACH = 24
"""Columns on either side of the middle that the seam is compared with."""

FEWEST = 5
"""Files that a judgement takes where there are as many, and at least half of those that are looked at."""

LEAST = 8
"""Columns of a half that a judgement takes."""


def seam(picture: Pixels) -> float | None:
    """Return how many times as much columns differ at the middle of uint8 (H, W, 3) as beside it.

    Two pictures side by side have a seam there. The difference at a column is the largest of three neighbours,
    since JPEG and scaling smear a seam; beside the middle it is the median. None where the middle is flat, as a
    border or the white around a drawing, which two halves may share, or the picture is small.
    """
    middle = picture.shape[1] // 2
    reach = min(REACH, middle - 2)
    if reach < LEAST:
        return None
    columns = picture[:, middle - reach - 1 : middle + reach + 1].astype(np.int16)
    steps = np.abs(np.diff(columns, axis=1)).mean(axis=(0, 2))  # steps[reach] is between the halves
    largest = np.max([steps[:-2], steps[1:-1], steps[2:]], axis=0)
    at, beside = largest[reach - 1], np.median(np.delete(largest, range(reach - 3, reach + 2)))
    found = float(at / max(beside, 0.5))
    return found if at >= FLAT and found >= CALMEST_SEAM else None


def sampled(files: Sequence[T]) -> Sequence[T]:
    """Return at most `SAMPLE` of the files, evenly from all of them."""
    step = max(1, -(-len(files) // SAMPLE))
    return files[::step]


def no_halves(pictures: Iterable[Pixels]) -> str | None:
    """Return why pictures, uint8 (H, W, 3) each, are no two halves side by side; None where they may be."""
    shapes: list[bool] = []  # taller than wide
    seams: list[float] = []
    for picture in pictures:
        shapes.append(picture.shape[0] > picture.shape[1])
        found = seam(picture)
        if found is not None:
            seams.append(found)
    if sum(shapes) * 2 > len(shapes):
        return f"{sum(shapes)} of {len(shapes)} files are taller than wide"
    judged = len(seams) * 2 >= len(shapes) and len(seams) >= min(FEWEST, len(shapes))
    if seams and judged and float(np.median(seams)) < WEAKEST_SEAM:
        return (
            f"{len(seams)} files show no seam in the middle ({np.median(seams):.1f} times the usual difference of "
            f"columns, two pictures side by side at least {WEAKEST_SEAM:g})"
        )
    return None
