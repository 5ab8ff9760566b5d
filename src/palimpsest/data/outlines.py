"""Checks of outlines: annotations that paint nothing, and the unit and the frame that coordinates are given in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palimpsest.data.regions import MALFORMED, Polygon, polygons_of

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

Size = tuple[int, int]  # (height, width)
Box = tuple[float, float, float, float]  # x, y, width, height


@dataclass(frozen=True)
class Fault:
    """Annotation that is not painted, or hardly as it was meant."""

    source: str
    annotation: str
    reason: str

    @property
    def harmless(self) -> bool:
        """True of an outline in pixels that is too small to be seen."""
        return self.reason == SMALL

    def __str__(self) -> str:
        """Name the picture and the annotation."""
        return f"{self.source}: {self.annotation}: {self.reason}"


@dataclass(frozen=True)
class Extent:
    """Smallest rectangle around an outline: (x, y) of its corners."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, polygons: Iterable[Polygon]) -> "Extent | None":
        """Return the extent of polygons of three points or more; None where there is none."""
        points = [polygon.reshape(-1, 2) for polygon in polygons if polygon.size >= 6]
        if not points:
            return None
        corners = np.concatenate(points)
        return cls(corners.min(axis=0), corners.max(axis=0))

    def excess(self, size: Size) -> NDArray[np.float64]:
        """Return by how many pixels the outline reaches out of a picture, in x and y."""
        height, width = size
        return np.maximum(0, np.maximum(-self.low, self.high - (width, height)))

    def fits(self, size: Size, share: float) -> bool:
        """Return whether the outline exceeds a picture by at most this share of its sides."""
        height, width = size
        return bool((self.excess(size) <= np.maximum(REACH_PIXELS, share * np.array((width, height)))).all())


def fault_of(segmentation: Any, covered: int, size: Size) -> str | None:
    """Return why an annotation paints nothing or not what was meant; None of a sound one.

    ``covered`` is its number of pixels in a picture of ``size`` (height, width).
    """
    polygons = polygons_of(segmentation)
    if polygons is None:
        return None if covered else EMPTY_CODE
    extent = Extent.of(polygons)
    if extent is None:
        return {0: NO_OUTLINE, 4: FOUR_NUMBERS}.get(max((part.size for part in polygons), default=0), TOO_FEW)
    misplaced = _misplaced(extent, size)
    if misplaced or covered:
        return misplaced
    is_line = all(_encloses_nothing(part) for part in polygons if part.size >= 6)
    return LINE if is_line and (extent.high - extent.low).max() >= 1 else SMALL


def _misplaced(extent: Extent, size: Size) -> str | None:
    (left, top), (right, bottom), (height, width) = extent.low, extent.high, size
    if min(left, top) >= -0.05 and max(right, bottom) <= 1.05:
        return SHARES
    outside = max(left - width, top - height, -right, -bottom) >= 0
    if not outside and extent.fits(size, REACH_SHARE):
        return None
    what = "lies outside" if outside else "reaches out of"
    hint = "; percent instead of pixels?" if min(left, top) >= 0 and max(right, bottom) <= 100 else ""
    place = f"x {left:g} to {right:g} and y {top:g} to {bottom:g} of {width}×{height} pixels"
    return f"{what} the picture: {place}{hint}"


def _encloses_nothing(polygon: Polygon) -> bool:
    """Return whether all points lie on one line; the area would also be 0 of a figure of eight."""
    points = polygon.reshape(-1, 2)
    return bool(np.linalg.matrix_rank(points - points[0], tol=1e-6) < 2)


@dataclass(frozen=True)
class Outline:
    """Outline of an annotation with the size of its picture, and its own box where the file has one."""

    extent: Extent
    size: Size
    box: Box | None


def in_percent(outlines: Iterable[Outline]) -> bool:
    """Return whether the outlines of a split are given in percent of the sides.

    No coordinate exceeds 100 then (1 more is allowed for rounding). Boxes in pixels prove it where they fit the
    outlines in percent and not in pixels. Otherwise at least eight outlines must use the range beyond 50 in
    pictures that are all at least twice as large.
    """
    proofs = boxes = count = 0
    highest = np.zeros(2)
    least = np.inf
    for outline in outlines:
        extent = outline.extent
        if extent.low.min() < -1 or extent.high.max() > 101:
            return False
        if outline.box is not None:
            scale = np.array((outline.size[1], outline.size[0])) / 100
            in_pixels = _is_box(extent, outline.box, np.ones(2))
            proofs += not in_pixels and _is_box(extent, outline.box, scale)
            boxes += 1
        highest = np.maximum(highest, extent.high)
        least, count = min(least, *outline.size), count + 1
    return 2 * proofs > boxes or (count >= 8 and least >= 200 and bool((highest >= 50).all()))


def _is_box(extent: Extent, box: Box, scale: NDArray[np.float64]) -> bool:
    """Return whether a box is that of an outline at this scale, within 2 % of its sides and a pixel."""
    corner, sides = np.array(box[:2]), np.array(box[2:])
    tolerance = 1 + 0.02 * sides
    low, high = extent.low * scale, extent.high * scale
    return bool((np.abs(low - corner) <= tolerance).all() and (np.abs(high - corner - sides) <= tolerance).all())


def box_of(entry: Mapping[str, Any], segmentation: Any) -> Box | None:
    """Return the box of an annotation where it may tell pixels from percent: no coordinate exceeds 101."""
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
        polygons = polygons_of(segmentation)
    except MALFORMED:
        return None
    return Extent.of(polygons) if polygons else None


def fits_frame(segmentation: Any, size: Size, share: float) -> bool:
    """Return whether an annotation was drawn on a picture of this size; True where it tells nothing."""
    if isinstance(segmentation, Mapping) and "size" in segmentation:
        try:
            return [int(number) for number in segmentation["size"]] == [*size]
        except MALFORMED:
            return True
    extent = extent_of(segmentation)
    return extent is None or extent.fits(size, share)
