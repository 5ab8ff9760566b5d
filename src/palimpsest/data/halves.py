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

Measured on 500 photographs of COCO and VOC, whole and scaled to 256 px, as PNG and as JPEG of quality 50 and 75.
Medians of 24 files: plain photographs 0.8 to 1.3 (99.9 % of the samples), two halves at least 3.9 (photograph and
its grey copy, quality 50), 5.9 (blurred copy), 7.0 (another photograph), 7.6 (edges). Medians of 5 files: at most
1.7, and at least 1.9.
"""

FLAT = 2.0
"""Mean difference of neighbouring columns, in levels of 255, below which the middle shows nothing to judge by."""

REACH = 24
"""Columns on either side of the middle that the seam is compared with."""

LEAST = 8
"""Columns of a half that a judgement takes."""


def seam(picture: Pixels) -> float | None:
    """Return how many times as much columns differ at the middle of uint8 (H, W, 3) as beside it.

    Two pictures side by side have a seam there. The difference at a column is the largest of three neighbours,
    since JPEG and scaling smear a seam; beside the middle it is the median. None where the surroundings are flat,
    as the white around a drawing, or the picture is small.
    """
    middle = picture.shape[1] // 2
    reach = min(REACH, middle - 2)
    if reach < LEAST:
        return None
    columns = picture[:, middle - reach - 1 : middle + reach + 1].astype(np.int16)
    steps = np.abs(np.diff(columns, axis=1)).mean(axis=(0, 2))  # steps[reach] is between the halves
    largest = np.max([steps[:-2], steps[1:-1], steps[2:]], axis=0)
    at, beside = largest[reach - 1], np.median(np.delete(largest, range(reach - 3, reach + 2)))
    return float(at / max(beside, 0.5)) if max(at, beside) >= FLAT else None


def sampled(files: Sequence[T]) -> Sequence[T]:
    """Return at most `SAMPLE` of the files, evenly from all of them."""
    step = max(1, -(-len(files) // SAMPLE))
    return files[::step]


def no_halves(pictures: Iterable[Pixels]) -> str | None:
    """Return why pictures, uint8 (H, W, 3) each, are no two halves side by side; None where they may be."""
    shapes: list[bool] = []
    seams: list[float] = []
    for picture in pictures:
        shapes.append(picture.shape[0] > picture.shape[1])
        found = seam(picture)
        if found is not None:
            seams.append(found)
    if sum(shapes) * 2 > len(shapes):
        return f"{sum(shapes)} of {len(shapes)} files are taller than wide"
    if seams and float(np.median(seams)) < WEAKEST_SEAM:
        return (
            f"{len(seams)} files show no seam in the middle ({np.median(seams):.1f} times the usual difference of "
            f"columns, two pictures side by side at least {WEAKEST_SEAM:g})"
        )
    return None
