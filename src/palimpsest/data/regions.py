"""Segmentations of COCO as pixels: polygons and run-length codes of instances, painted over one another."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from palimpsest.data.pictures import Pixels

Rle = dict[str, Any]
Polygon = NDArray[np.float64]

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
"""Errors that JSON of another shape raises in its reader; `OverflowError` is raised for `Infinity`."""

VIA_POINTS = ("all_points_x", "all_points_y")
"""Keys of a polygon as VGG Image Annotator stores it."""


def compact(segmentation: Any) -> Any:
    """Return lists of numbers as arrays, which take a quarter of the memory of Python's numbers.

    A list with one run-length code is returned as this code, and other content unchanged. Damage is reported when
    the picture is painted and can be named.
    """
    if isinstance(segmentation, list) and len(segmentation) == 1 and isinstance(segmentation[0], Mapping):
        return segmentation[0] if segmentation[0].keys() >= {"size", "counts"} else segmentation
    if isinstance(segmentation, list) and segmentation and all(isinstance(part, list) for part in segmentation):
        with suppress(*MALFORMED):
            if _are_points(segmentation):
                return [np.array(segmentation, np.float64).ravel()]
            return [np.array(part, np.float64) for part in segmentation]
    return segmentation


def polygons_of(segmentation: Any) -> list[Polygon] | None:
    """Return the polygons of a segmentation as arrays x, y, x, y, …; None for a run-length code.

    The standard form is a list of lists of numbers. A single list, points nested as [x, y] or as
    {"x": …, "y": …}, and the two lists of VGG Image Annotator have one meaning only and are read too. There are
    no polygons without a segmentation.

    Raises:
        ValueError, TypeError: the segmentation is none of these.
    """
    if segmentation is None:
        return []
    if isinstance(segmentation, Mapping):
        if segmentation.keys() >= {*VIA_POINTS}:
            return [_polygon(np.column_stack([np.asarray(segmentation[key], np.float64) for key in VIA_POINTS]))]
        return None
    if not isinstance(segmentation, list):
        raise ValueError("its segmentation is neither a list of polygons nor a run-length code")
    if segmentation and isinstance(segmentation[0], int | float):
        segmentation = [segmentation]  # one polygon that was not put into a list
    elif _are_points(segmentation):
        segmentation = [segmentation]
    return [_polygon(part) for part in segmentation]


def _are_points(parts: Sequence[Any]) -> bool:
    """Return whether the parts are points: a polygon of two numbers does not exist, three points are a polygon."""
    if len(parts) < 3:
        return False
    if isinstance(parts[0], Mapping):
        return True
    return all(isinstance(part, list | np.ndarray) and len(part) == 2 and np.ndim(part) == 1 for part in parts)


def _polygon(points: Any) -> Polygon:
    if isinstance(points, list) and points and isinstance(points[0], Mapping):
        points = [(point["x"], point["y"]) for point in points]
    polygon = np.asarray(points, np.float64)
    if polygon.ndim == 2 and polygon.shape[1] == 2:
        polygon = polygon.ravel()
    if polygon.ndim != 1 or polygon.size % 2:
        raise ValueError("a polygon is not a list of x, y, x, y, …")
    if not np.isfinite(polygon).all():
        raise ValueError("a polygon has a coordinate that is not a number")
    return polygon


class Extent(NamedTuple):
    """Smallest rectangle around an outline; plain numbers, which are faster than arrays of two."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, polygons: Sequence[Polygon]) -> "Extent | None":
        """Return the extent of polygons; None where there is none."""
        if not polygons:
            return None
        numbers = polygons[0] if len(polygons) == 1 else np.concatenate(polygons)
        x, y = numbers[0::2], numbers[1::2]
        return cls(float(x.min()), float(y.min()), float(x.max()), float(y.max()))


class Shape(NamedTuple):
    """Segmentation of one instance: the polygons that enclose something, or a run-length code."""

    polygons: list[Polygon]
    extent: Extent | None
    """Box around the polygons; None without any."""
    longest: int
    """Most numbers in a polygon, also of those that enclose nothing."""
    code: Mapping[str, Any] | None = None

    def region(self, height: int, width: int) -> Rle | None:
        """Return the pixels as a run-length code, which may end before the picture does; None without a polygon.

        Raises:
            ValueError, TypeError: the code is damaged or made for another size, or a polygon reaches far out.
        """
        if self.code is not None:
            return _checked_rle(self.code, height, width)
        if self.extent is None:
            return None
        # Where polygons end, the frame may end: the rest would be coded and decoded for nothing.
        left, top, right, bottom = self.extent
        if max(right, bottom, -left, -top) > 10 * (height + width):  # edges are walked in steps of 1/5 pixel
            raise ValueError(f"a polygon reaches far out of the picture of {width}×{height} pixels")
        shape = max(1, min(height, int(bottom) + 2)), max(1, min(width, int(right) + 2))
        parts: list[Rle] = rle_masks.frPyObjects(self.polygons, *shape)
        return parts[0] if len(parts) == 1 else rle_masks.merge(parts)


def shape_of(segmentation: Any) -> Shape:
    """Read a segmentation.

    Raises:
        ValueError, TypeError: it is damaged or of no known form.
    """
    parts = polygons_of(segmentation)
    if parts is None:
        return Shape([], None, 0, segmentation)
    polygons = [polygon for polygon in parts if polygon.size >= 6]  # two points have no inside
    return Shape(polygons, Extent.of(polygons), max((polygon.size for polygon in parts), default=0))


def _checked_rle(segmentation: Mapping[str, Any], height: int, width: int) -> Rle:
    """Return a run-length code in the form of pycocotools.

    pycocotools reads foreign memory for a code that covers less than its size, and past the end of one that stops
    in the middle of a number. So the runs of compressed codes are decoded here first.
    """
    if not segmentation.keys() >= {"counts", "size"}:
        raise ValueError("its run-length code lacks counts or size")
    counts, size = segmentation["counts"], [int(number) for number in segmentation["size"]]
    if size != [height, width]:
        raise ValueError(f"its run-length code is for {size[1:]}×{size[:1]} pixels, not {width}×{height}")
    runs = _runs(counts.encode()) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"its run-length code covers {sum(runs)} pixels, not {height * width}")
    rle: Rle = rle_masks.frPyObjects({"counts": runs, "size": size}, height, width)
    return rle


def _runs(code: bytes) -> list[int]:
    """Return the run lengths in COCO's compressed code (`rleFrString` of pycocotools).

    Each character holds five bits, from 48 up; its sixth bit means that the number continues. From the fourth
    run on, the code holds the difference to the last run but one.
    """
    runs: list[int] = []
    value = shift = 0
    for character in code:
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run-length code ends in the middle of a number")
    return runs


def paint(painted: list[tuple[Rle, int]], height: int, width: int) -> Pixels:
    """Return the label map (height, width) of regions with their labels, the smaller over the larger."""
    columns = np.zeros((width, height), np.uint8)  # run-length codes go down the columns
    if not painted:
        return columns.T
    codes = [code for code, _ in painted]
    areas = rle_masks.area(codes)
    boxes = rle_masks.toBbox(codes).astype(int)
    for number in np.argsort(-areas.astype(np.int64), kind="stable"):
        code, label = painted[number]
        x, y, w, h = boxes[number]
        inside = rle_masks.decode(code).T[x : x + w, y : y + h].view(np.bool_)
        np.copyto(columns[x : x + w, y : y + h], np.uint8(label), where=inside)
    return columns.T
