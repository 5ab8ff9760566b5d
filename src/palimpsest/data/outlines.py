"""Checks of outlines: annotations that paint nothing, and the unit and the frame that coordinates are given in."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from palimpsest.data.regions import MALFORMED, Extent, Polygon, Shape, shape_of

REACH_SHARE = 0.1
"""Share of a side by which an outline may reach out of its picture, and is clipped."""

REACH_PIXELS = 2
"""The same in pixels, for small pictures: tools round outlines and let them run along the outer edge."""

FRAME_SHARE = 0.02
"""Share of a side by which outlines may exceed the frame that they were drawn in, stored or shown."""

NO_OUTLINE = "no outline: a box alone cannot be painted"
FOUR_NUMBERS = "no outline, but four numbers: a box or a line cannot be painted"
TOO_FEW = "fewer than three points: a point or a line cannot be painted"
LINE = "all points lie on one line, which encloses no pixel"
EMPTY_CODE = "its run-length code covers no pixel"
SHARES = "all coordinates lie between 0 and 1: shares of the picture instead of pixels?"
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
    annotation: str
    reason: str

    @property
    def kind(self) -> Kind:
        """Return the kind; only ``faulty`` ones are limited by `pictures.broken_share`."""
        return "small" if self.reason == SMALL else "clipped" if self.reason.startswith(CLIPPED) else "faulty"

    def __str__(self) -> str:
        """Name the picture and the annotation."""
        return f"{self.source}: {self.annotation}: {self.reason}"


def fits(extent: Extent, size: Size, share: float) -> bool:
    """Return whether an outline exceeds a picture by at most this share of its sides."""
    height, width = size
    slack_x, slack_y = max(REACH_PIXELS, share * width), max(REACH_PIXELS, share * height)
    inside_x = extent.left >= -slack_x and extent.right <= width + slack_x
    return inside_x and extent.top >= -slack_y and extent.bottom <= height + slack_y


class Outline(NamedTuple):
    """Outline of an annotation with the size of its picture, and its own box where the file has one."""

    extent: Extent
    size: Size
    box: Box | None


SplitCheck = Callable[[Iterable[Outline]], bool]
"""Check of all outlines of a split: `in_percent`, `mostly_shares`, `mostly_reaching`."""


def fault_of(shape: Shape, covered: int, size: Size, confirmed: Callable[[SplitCheck], bool]) -> str | None:
    """Return why an annotation paints nothing or not what was meant; None of a sound one.

    ``covered`` is its number of pixels in a picture of ``size`` (height, width). ``confirmed`` runs a check on the
    outlines of its split.
    """
    if shape.code is not None:
        return None if covered else EMPTY_CODE
    if shape.extent is None:
        return {0: NO_OUTLINE, 4: FOUR_NUMBERS}.get(shape.longest, TOO_FEW)
    if confirmed(in_percent):
        return PERCENT
    if _are_shares(shape.extent) and confirmed(mostly_shares):
        return SHARES
    misplaced = _misplaced(shape.extent, covered, size, confirmed)
    if misplaced or covered:
        return misplaced
    left, top, right, bottom = shape.extent
    is_line = all(map(_encloses_nothing, shape.polygons))
    return LINE if is_line and max(right - left, bottom - top) >= 1 else SMALL


def _are_shares(extent: Extent) -> bool:
    return max(extent.right, extent.bottom) <= 1.05 and min(extent.left, extent.top) >= -0.05


def _misplaced(extent: Extent, covered: int, size: Size, confirmed: Callable[[SplitCheck], bool]) -> str | None:
    (left, top, right, bottom), (height, width) = extent, size
    outside = max(left - width, top - height, -right, -bottom) >= 0
    if not outside and fits(extent, size, REACH_SHARE):
        return None
    place = f"x {left:g} to {right:g} and y {top:g} to {bottom:g} of {width}×{height} pixels"
    may_be_percent = min(left, top) >= 0 and max(right, bottom) <= 100
    if covered and not outside and not may_be_percent and not confirmed(mostly_reaching):
        return f"{CLIPPED}: {place}"
    what = "lies outside" if outside else "reaches out of"
    return f"{what} the picture: {place}{'; percent instead of pixels?' * may_be_percent}"


def _encloses_nothing(polygon: Polygon) -> bool:
    """Return whether all points lie on one line; the area would also be 0 of a figure of eight."""
    points = polygon.reshape(-1, 2)
    return bool(np.linalg.matrix_rank(points - points[0], tol=1e-6) < 2)


def in_percent(outlines: Iterable[Outline]) -> bool:
    """Return whether the outlines of a split are given in percent of the sides.

    No coordinate exceeds 100 then (1 more is allowed for rounding). Boxes in pixels prove it where they fit the
    outlines in percent and not in pixels, and disprove it where they fit them in pixels alone. Otherwise at least
    eight outlines must use the range beyond 50 in pictures that are all at least twice as large.
    """
    proofs = disproofs = boxes = count = 0
    right = bottom = 0.0
    least = math.inf
    for extent, size, box in outlines:
        if min(extent.left, extent.top) < -1 or max(extent.right, extent.bottom) > 101:
            return False
        if box is not None:
            as_pixels, as_percent = _is_box(extent, box, (100, 100)), _is_box(extent, box, size)
            proofs += as_percent and not as_pixels
            disproofs += as_pixels and not as_percent
            boxes += 1
        right, bottom = max(right, extent.right), max(bottom, extent.bottom)
        least, count = min(least, *size), count + 1
    if disproofs > proofs:
        return False
    return 2 * proofs > boxes or (count >= 8 and least >= 200 and min(right, bottom) >= 50)


def mostly_shares(outlines: Iterable[Outline]) -> bool:
    """Return whether at least half of the outlines of a split lie between 0 and 1."""
    return _at_least_half(_are_shares(outline.extent) for outline in outlines)


def mostly_reaching(outlines: Iterable[Outline]) -> bool:
    """Return whether at least half of the outlines of a split reach far out of their pictures."""
    return _at_least_half(not fits(outline.extent, outline.size, REACH_SHARE) for outline in outlines)


def _at_least_half(answers: Iterable[bool]) -> bool:
    found = list(answers)
    return 2 * sum(found) >= len(found)


def _is_box(extent: Extent, box: Box, size: Size) -> bool:
    """Return whether a box is that of an outline in percent of this size, within 2 % of its sides and a pixel."""
    left, top, width, height = box
    scale_y, scale_x = size[0] / 100, size[1] / 100
    distance_x = max(abs(extent.left * scale_x - left), abs(extent.right * scale_x - left - width))
    distance_y = max(abs(extent.top * scale_y - top), abs(extent.bottom * scale_y - top - height))
    return distance_x <= 1 + 0.02 * width and distance_y <= 1 + 0.02 * height


def box_of(entry: Mapping[str, Any], segmentation: Any) -> Box | None:
    """Return the box of an annotation where it may be evidence of the unit: no coordinate exceeds 101."""
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
    """Return the extent of an annotation; None where it has no outline or a damaged one."""
    try:
        return shape_of(segmentation).extent
    except MALFORMED:
        return None


def fits_frame(segmentation: Any, size: Size, share: float) -> bool:
    """Return whether an annotation was drawn on a picture of this size; True without an outline or with damage."""
    if isinstance(segmentation, Mapping) and "size" in segmentation:
        try:
            return [int(number) for number in segmentation["size"]] == [*size]
        except MALFORMED:
            return True
    extent = extent_of(segmentation)
    return extent is None or fits(extent, size, share)
