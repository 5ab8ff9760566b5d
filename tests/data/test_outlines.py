from typing import Any

import pytest

from palimpsest.data.outlines import (
    FOUR_NUMBERS,
    LINE,
    NO_OUTLINE,
    PERCENT,
    SHARES,
    SMALL,
    TOO_FEW,
    Box,
    Extent,
    Fault,
    Outline,
    box_of,
    fault_of,
    fits_frame,
    in_percent,
)
from palimpsest.data.regions import compact, shape_of

SIZE = (480, 640)


def rectangle(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


@pytest.mark.parametrize(
    ("segmentation", "covered", "reason"),
    [
        ([rectangle(0, 0, 640, 480)], 5, None),
        ([rectangle(0, 0, 1, 480)], 5, None),
        ([rectangle(-60, 0, 700, 520)], 5, None),
        ([rectangle(0, 0, 710, 480)], 5, "reaches out of the picture: x 0 to 710 and y 0 to 480 of 640×480 pixels"),
        ([rectangle(640, 0, 650, 9)], 0, "lies outside the picture: x 640 to 650 and y 0 to 9 of 640×480 pixels"),
        ([rectangle(-9, -9, 0, 0)], 0, "lies outside the picture: x -9 to 0 and y -9 to 0 of 640×480 pixels"),
        ([rectangle(0.1, 0.1, 1.02, 0.9)], 1, SHARES),
        ([rectangle(7.1, 7.1, 7.2, 7.2)], 0, SMALL),
        ([rectangle(7.1, 7.1, 7.2, 40)], 0, SMALL),
        ([rectangle(7, 7, 7, 40)], 0, LINE),
        ([rectangle(7, 7, 7, 7.5)], 0, SMALL),
        ([[1, 2], [3, 4]], 0, TOO_FEW),
        ([[1, 2, 3, 4]], 0, FOUR_NUMBERS),
        ([1, 2, 3, 4], 0, FOUR_NUMBERS),
        ([], 0, NO_OUTLINE),
        ([[], [5.0, 5.0, 9.0, 9.0], rectangle(0, 0, 9, 9)], 81, None),
    ],
)
def test_each_fault_has_its_reason_and_sound_outlines_have_none(
    segmentation: Any, covered: int, reason: str | None
) -> None:
    assert fault_of(shape_of(segmentation), covered, SIZE) == reason
    assert fault_of(shape_of(compact(segmentation)), covered, SIZE) == reason


def test_only_what_is_smaller_than_a_pixel_is_harmless() -> None:
    assert Fault("a", "b", SMALL).harmless
    assert not any(Fault("a", "b", reason).harmless for reason in (LINE, NO_OUTLINE, PERCENT, SHARES))


def outlines(corners: list[tuple[float, float]], side: int = 400, box: Box | None = None) -> list[Outline]:
    """Return an outline per corner, each from the point before the corner by a quarter."""
    extents = [Extent(x * 0.75, y * 0.75, x, y) for x, y in corners]
    return [Outline(extent, (side, side), box) for extent in extents]


EIGHT = [(80.0, 20.0), (10.0, 90.0), *[(30.0, 30.0)] * 6]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (outlines(EIGHT), True),
        (outlines([*EIGHT, (300, 20)]), False),  # one coordinate in pixels
        (outlines(EIGHT[:7]), False),  # too few to tell
        (outlines(EIGHT, side=150), False),  # pictures hardly larger than 100 pixels
        (outlines([(40, 20)] * 20), False),  # a corner in which all objects lie
        (outlines([(90, 30)] * 20), False),  # a caption along the upper edge
        (outlines([(40, 20)], box=(120, 60, 40, 20)), True),  # the box is in pixels and fits the outline in percent
        (outlines([(40, 20)], box=(30, 15, 10, 5)), False),  # the box fits as it is
        (outlines([(40, 20)], box=(200, 60, 40, 20)), False),  # the box fits neither
        ([*outlines([(40, 20)], box=(120, 60, 40, 20)), *outlines([(40, 20)] * 3, box=(30, 15, 10, 5))], False),
        ([], False),
    ],
)
def test_percent_is_told_by_boxes_or_by_many_outlines(found: list[Outline], expected: bool) -> None:
    assert in_percent(found) is expected


def test_a_box_is_kept_only_where_it_may_tell_percent() -> None:
    entry = {"bbox": [1, 2, 3, 4]}
    assert box_of(entry, compact([rectangle(0, 0, 100, 9)])) == (1, 2, 3, 4)
    assert box_of(entry, compact([rectangle(0, 0, 102, 9)])) is None
    for box in ([0, 0, 0, 0], [1, 2], "box", None):
        assert box_of({"bbox": box}, compact([rectangle(0, 0, 9, 9)])) is None
    assert box_of(entry, {"counts": []}) is None and box_of({}, compact([rectangle(0, 0, 9, 9)])) is None


def test_a_frame_fits_within_two_pixels_or_a_share_and_damage_tells_nothing() -> None:
    assert fits_frame([rectangle(0, 0, 642, 480)], SIZE, 0) and not fits_frame([rectangle(0, 0, 643, 480)], SIZE, 0)
    assert fits_frame([rectangle(0, 0, 652, 480)], SIZE, 0.02)
    assert fits_frame({"size": [480, 640], "counts": []}, SIZE, 0)
    assert not fits_frame({"size": [640, 480], "counts": []}, SIZE, 0)
    for damaged in (None, "polygon", [], [["a", "b"] * 3], {"size": "large"}, [[1e9, float("nan")] * 3]):
        assert fits_frame(damaged, SIZE, 0)
