"""Conversion of COCO segmentations to label maps.

The segmentation of an annotation is a list of polygons, or a run-length code: the lengths of alternating runs of
pixels outside and inside the object, column by column.
"""

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
"""Errors that malformed JSON causes in its reader; `Infinity` causes `OverflowError`."""

VIA_POINTS = ("all_points_x", "all_points_y")
"""Keys of a polygon in the format of VGG Image Annotator."""


def compact(segmentation: Any) -> Any:
    """Return a segmentation with its lists of numbers converted to arrays, in a quarter of the memory.

    A list with one run-length code becomes that code; other content is returned unchanged. Damage raises no error
    here: `shape_of` reports it when the picture, and so its name, is known.
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

    The standard form is a list of lists of numbers. Other unambiguous forms are accepted: a single list of numbers,
    points as [x, y] or {"x": …, "y": …}, and the two lists of VGG Image Annotator. For None the list is empty.

    Raises:
        ValueError, TypeError: the segmentation has another form.
    """
    if segmentation is None:
        return []
    if isinstance(segmentation, Mapping):
        if segmentation.keys() >= {*VIA_POINTS}:
            return [_polygon(np.column_stack([np.asarray(segmentation[key], np.float64) for key in VIA_POINTS]))]
        return None
    if not isinstance(segmentation, list):
        raise ValueError("segmentation is neither a list of polygons nor a run-length code; export it again")
    if segmentation and isinstance(segmentation[0], int | float):
        segmentation = [segmentation]  # a polygon without the enclosing list
    elif _are_points(segmentation):
        segmentation = [segmentation]
    return [_polygon(part) for part in segmentation]


def _are_points(parts: Sequence[Any]) -> bool:
    """Return whether a list seems to be the points of one polygon.

    It has at least three parts, and all are pairs or the first is a mapping; `_polygon` checks the other mappings.
    """
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
        raise ValueError("a polygon is not a list of x, y, x, y, …; export it again")
    if not np.isfinite(polygon).all():
        raise ValueError("a polygon has a coordinate that is not finite; export it again")
    return polygon


class Extent(NamedTuple):
    """Bounding rectangle of an outline, as Python floats, which are faster here than arrays."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, polygons: Sequence[Polygon]) -> "Extent | None":
        """Return the extent of polygons; None for an empty list."""
        if not polygons:
            return None
        numbers = polygons[0] if len(polygons) == 1 else np.concatenate(polygons)
        x, y = numbers[0::2], numbers[1::2]
        return cls(float(x.min()), float(y.min()), float(x.max()), float(y.max()))


class Shape(NamedTuple):
    """Checked segmentation of one instance: polygons, or a run-length code."""

    polygons: list[Polygon]
    """Polygons of at least three points; empty for a run-length code."""
    extent: Extent | None
    """Extent of the polygons; None without polygons."""
    longest: int
    """Largest number of coordinates of a polygon, including polygons of fewer than three points."""
    code: Mapping[str, Any] | None = None
    """Run-length code as in the JSON, not checked yet; None for polygons."""

    def region(self, height: int, width: int) -> Rle | None:
        """Return the pixels of the instance in a picture as run-length code; None if there is no polygon.

        The code may be of a smaller size than the picture, from its top left corner.

        Raises:
            ValueError, TypeError: the code is damaged or has another size, or a polygon exceeds the picture far.
        """
        if self.code is not None:
            return _checked_rle(self.code, height, width)
        if self.extent is None:
            return None
        # The code ends where the polygons end, which saves encoding and decoding of empty pixels.
        left, top, right, bottom = self.extent
        if max(right, bottom, -left, -top) > 10 * (
            height + width
        ):  # pycocotools follows edges in steps of 1/5 pixel
            raise ValueError(f"a polygon exceeds the picture of {width}×{height} pixels far; export it again")
        shape = max(1, min(height, int(bottom) + 2)), max(1, min(width, int(right) + 2))
        parts: list[Rle] = rle_masks.frPyObjects(self.polygons, *shape)
        return parts[0] if len(parts) == 1 else rle_masks.merge(parts)


def shape_of(segmentation: Any) -> Shape:
    """Return the polygons or the run-length code of a segmentation in any form that `polygons_of` accepts.

    Raises:
        ValueError, TypeError: the segmentation is damaged or has an unknown form.
    """
    parts = polygons_of(segmentation)
    if parts is None:
        return Shape([], None, 0, segmentation)
    polygons = [polygon for polygon in parts if polygon.size >= 6]  # two points have no inside
    return Shape(polygons, Extent.of(polygons), max((polygon.size for polygon in parts), default=0))


def _checked_rle(segmentation: Mapping[str, Any], height: int, width: int) -> Rle:
    """Return a checked run-length code in the form of pycocotools, for a picture of this size.

    pycocotools reads invalid memory if a code covers less than its size or ends in the middle of a number.
    Therefore the runs of compressed codes are decoded and checked here first.

    Raises:
        ValueError, TypeError: the code is damaged or has another size.
    """
    if not segmentation.keys() >= {"counts", "size"}:
        raise ValueError("run-length code lacks counts or size; export it again")
    counts, size = segmentation["counts"], [int(number) for number in segmentation["size"]]
    if size != [height, width]:
        raise ValueError(
            f"run-length code is for {'×'.join(map(str, reversed(size)))} pixels, not {width}×{height}; "
            "export it again"
        )
    runs = _runs(counts.encode()) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"run-length code covers {sum(runs)} pixels, not {height * width}; export it again")
    rle: Rle = rle_masks.frPyObjects({"counts": runs, "size": size}, height, width)
    return rle


def _runs(code: bytes) -> list[int]:
    """Return the run lengths in COCO's compressed code (`rleFrString` of pycocotools).

    Each character encodes five bits plus an offset of 48; its sixth bit means that the number continues. From the
    fourth run on, the code contains the difference to the run two positions before.
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
        raise ValueError("run-length code ends in the middle of a number; export it again")
    return runs


def paint(painted: list[tuple[Rle, int]], height: int, width: int) -> Pixels:
    """Return the label map, uint8 (height, width), of pairs (region, label); smaller regions cover larger ones."""
    columns = np.zeros((width, height), np.uint8)  # run-length codes are in column-major order
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
