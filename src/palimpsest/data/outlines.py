"""Checks of outlines: annotations without pixels, unit of the coordinates, and size of the picture.

An outline is the polygons of one annotation; its extent is their bounding rectangle.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from palimpsest.data.regions import MALFORMED, Extent, Polygon, Shape, shape_of

REACH_SHARE = 0.1
"""Fraction of a side by which an outline may exceed its picture; the excess is clipped."""

REACH_PIXELS = 2
"""Minimum of the tolerance in pixels, since tools round outlines and place them on the outer edge."""

FRAME_SHARE = 0.02
"""Fraction of a side by which outlines may exceed a frame, stored or shown, that they fit (`data.turned`)."""

NO_OUTLINE = "no outline: a box alone cannot be painted"
FOUR_NUMBERS = "no outline, but four numbers: a box or a line cannot be painted"
TOO_FEW_POINTS = "fewer than three points: a point or a line cannot be painted"
LINE = "all points lie on one line, which encloses no pixel"
EMPTY_CODE = "its run-length code covers no pixel"
SHARES = "all coordinates lie between 0 and 1: fractions of the picture instead of pixels?"
PERCENT = "no coordinate of this split exceeds 100, whatever the size of the picture: percent instead of pixels?"
SMALL = "smaller than a pixel: covers no pixel centre"
CLIPPED = "clipped at the edge of the picture"

Kind = Literal["faulty", "small", "clipped"]
Size = tuple[int, int]  # (height, width)
Box = tuple[float, float, float, float]  # x, y, width, height


@dataclass(frozen=True)
class Fault:
    """Annotation that is not painted, or only in part."""

    source: str
    """Name of the picture (`Record.source`)."""
    annotation: str
    """Name of the annotation in messages."""
    reason: str

    @property
    def kind(self) -> Kind:
        """Kind of the fault; `pictures.broken_share` limits only faults of kind ``faulty``."""
        return "small" if self.reason == SMALL else "clipped" if self.reason.startswith(CLIPPED) else "faulty"

    def __str__(self) -> str:
        """Return picture, annotation and reason."""
        return f"{self.source}: {self.annotation}: {self.reason}"


def fits_picture(extent: Extent, size: Size, share: float) -> bool:
    """Return whether an outline exceeds a picture by at most the fraction ``share`` of its sides, or by 2 px."""
    height, width = size
    slack_x, slack_y = max(REACH_PIXELS, share * width), max(REACH_PIXELS, share * height)
    inside_x = extent.left >= -slack_x and extent.right <= width + slack_x
    return inside_x and extent.top >= -slack_y and extent.bottom <= height + slack_y


class Outline(NamedTuple):
    """Outline of an annotation, with the size of its picture."""

    extent: Extent
    size: Size
    box: Box | None
    """Box of the annotation; None if it cannot show the unit of the coordinates (`box_of`)."""


SplitCheck = Callable[[Iterable[Outline]], bool]
"""Check of all outlines of a split: `in_percent`, `mostly_shares`, `mostly_reaching`."""


def fault_of(shape: Shape, covered: int, size: Size, check_split: Callable[[SplitCheck], bool]) -> str | None:
    """Return the reason why an annotation is not painted, or only in part; None if it is painted in full.

    ``covered`` is the number of pixels of the annotation in a picture of ``size`` (height, width). ``check_split``
    returns the result of a check of all outlines of the split, which a single outline cannot decide.
    """
    if shape.code is not None:
        return None if covered else EMPTY_CODE
    if shape.extent is None:
        return {0: NO_OUTLINE, 4: FOUR_NUMBERS}.get(shape.longest, TOO_FEW_POINTS)
    if check_split(in_percent):
        return PERCENT
    if _are_shares(shape.extent) and check_split(mostly_shares):
        return SHARES
    misplaced = _misplaced(shape.extent, covered, size, check_split)
    if misplaced or covered:
        return misplaced
    left, top, right, bottom = shape.extent
    is_line = all(map(_encloses_nothing, shape.polygons))
    return LINE if is_line and max(right - left, bottom - top) >= 1 else SMALL


def _are_shares(extent: Extent) -> bool:
    return max(extent.right, extent.bottom) <= 1.05 and min(extent.left, extent.top) >= -0.05


def _misplaced(extent: Extent, covered: int, size: Size, check_split: Callable[[SplitCheck], bool]) -> str | None:
    (left, top, right, bottom), (height, width) = extent, size
    outside = max(left - width, top - height, -right, -bottom) >= 0
    if not outside and fits_picture(extent, size, REACH_SHARE):
        return None
    position = f"x {left:g} to {right:g} and y {top:g} to {bottom:g} of {width}×{height} pixels"
    may_be_percent = min(left, top) >= 0 and max(right, bottom) <= 100
    if covered and not outside and not may_be_percent and not check_split(mostly_reaching):
        return f"{CLIPPED}: {position}"
    verb = "lies outside" if outside else "reaches out of"
    return f"{verb} the picture: {position}{'; percent instead of pixels?' * may_be_percent}"


def _encloses_nothing(polygon: Polygon) -> bool:
    """Return whether all points lie on one line; an area of 0 would not prove that (figure of eight)."""
    points = polygon.reshape(-1, 2)
    return bool(np.linalg.matrix_rank(points - points[0], tol=1e-6) < 2)


def in_percent(outlines: Iterable[Outline]) -> bool:
    """Return whether the coordinates of the outlines of a split are percentages of the sides of the picture.

    Coordinates in percent do not exceed 100 (101 after rounding). Boxes are in pixels: a box that fits its outline
    only in percent is evidence for percent, a box that fits only in pixels is evidence against. Unless most boxes
    are evidence for percent, at least eight outlines are needed, with coordinates from 50 up, in pictures with
    sides of at least 200 pixels.
    """
    proofs = disproofs = boxes = count = 0
    right = bottom = 0.0
    smallest_side = math.inf
    for extent, size, box in outlines:
        if min(extent.left, extent.top) < -1 or max(extent.right, extent.bottom) > 101:
            return False
        if box is not None:
            as_pixels, as_percent = _is_box(extent, box, (100, 100)), _is_box(extent, box, size)
            proofs += as_percent and not as_pixels
            disproofs += as_pixels and not as_percent
            boxes += 1
        right, bottom = max(right, extent.right), max(bottom, extent.bottom)
        smallest_side, count = min(smallest_side, *size), count + 1
    if disproofs > proofs:
        return False
    return 2 * proofs > boxes or (count >= 8 and smallest_side >= 200 and min(right, bottom) >= 50)


def mostly_shares(outlines: Iterable[Outline]) -> bool:
    """Return whether at least half of the outlines of a split have only coordinates between 0 and 1."""
    return _at_least_half(_are_shares(outline.extent) for outline in outlines)


def mostly_reaching(outlines: Iterable[Outline]) -> bool:
    """Return whether at least half of the outlines of a split exceed their pictures by more than `REACH_SHARE`."""
    return _at_least_half(not fits_picture(outline.extent, outline.size, REACH_SHARE) for outline in outlines)


def _at_least_half(answers: Iterable[bool]) -> bool:
    results = list(answers)
    return 2 * sum(results) >= len(results)


def _is_box(extent: Extent, box: Box, size: Size) -> bool:
    """Return whether a box bounds an outline in percent of this size, with a tolerance of a pixel and 2 %."""
    left, top, width, height = box
    scale_y, scale_x = size[0] / 100, size[1] / 100
    distance_x = max(abs(extent.left * scale_x - left), abs(extent.right * scale_x - left - width))
    distance_y = max(abs(extent.top * scale_y - top), abs(extent.bottom * scale_y - top - height))
    return distance_x <= 1 + 0.02 * width and distance_y <= 1 + 0.02 * height


def box_of(entry: Mapping[str, Any], segmentation: Any) -> Box | None:
    """Return the box of a JSON entry of an annotation; None if it cannot show the unit of the coordinates.

    It can only if the segmentation has polygons whose coordinates do not exceed 101, the maximum of a percentage.
    """
    if not isinstance(segmentation, list) or not all(isinstance(part, np.ndarray) for part in segmentation):
        return None
    try:
        if any(part.max(initial=0) > 101 for part in segmentation):
            return None
        left, top, width, height = (float(number) for number in entry["bbox"])
    except MALFORMED:
        return None
    return (left, top, width, height) if width > 0 and height > 0 else None


def extent_of(segmentation: Any) -> Extent | None:
    """Return the extent of the polygons of a segmentation; None if it has no polygons or is damaged."""
    try:
        return shape_of(segmentation).extent
    except MALFORMED:
        return None


def fits_frame(segmentation: Any, size: Size, share: float) -> bool:
    """Return whether a segmentation fits a picture of this size, with the tolerance ``share`` (`fits_picture`).

    A run-length code fits if it is for exactly this size. A missing or damaged outline fits any size.
    """
    if isinstance(segmentation, Mapping) and "size" in segmentation:
        try:
            return [int(number) for number in segmentation["size"]] == [*size]
        except MALFORMED:
            return True
    extent = extent_of(segmentation)
    return extent is None or fits_picture(extent, size, share)
