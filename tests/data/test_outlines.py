from typing import Any

import pytest

from palimpsest.data.outlines import (
    FOUR_NUMBERS,
    LINE,
    NO_OUTLINE,
    PERCENT,
    SHARES,
    SMALL,
    TOO_FEW_POINTS,
    Box,
    Extent,
    Fault,
    Outline,
    SplitCheck,
    box_of,
    fault_of,
    fits_frame,
    in_percent,
    mostly_reaching,
    mostly_shares,
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
        ([[1, 2], [3, 4]], 0, TOO_FEW_POINTS),
        ([[1, 2, 3, 4]], 0, FOUR_NUMBERS),
        ([1, 2, 3, 4], 0, FOUR_NUMBERS),
        ([], 0, NO_OUTLINE),
        ([[], [5.0, 5.0, 9.0, 9.0], rectangle(0, 0, 9, 9)], 81, None),
    ],
)
def test_each_fault_has_its_reason_and_valid_outlines_have_none(
    segmentation: Any, covered: int, reason: str | None
) -> None:
    def confirmed(check: SplitCheck) -> bool:
        return check is not in_percent

    assert fault_of(shape_of(segmentation), covered, SIZE, confirmed) == reason
    assert fault_of(shape_of(compact(segmentation)), covered, SIZE, confirmed) == reason


def test_few_outlines_between_0_and_1_or_beyond_the_edge_are_harmless() -> None:
    corner, amodal = shape_of([rectangle(0.1, 0.1, 0.4, 0.4)]), shape_of([rectangle(-200, 9, 300, 90)])
    assert fault_of(corner, 0, SIZE, lambda check: False) == SMALL
    reason = fault_of(amodal, 9, SIZE, lambda check: False)
    assert reason == "clipped at the edge of the picture: x -200 to 300 and y 9 to 90 of 640×480 pixels"
    assert Fault("a", "b", reason).kind == "clipped"
    percent = fault_of(shape_of([rectangle(25, 25, 75, 75)]), 9, (64, 64), lambda check: False)
    assert percent is not None and Fault("a", "b", percent).kind == "faulty"
    large, small = Extent(-200, 0, 300, 90), Extent(0, 0, 1, 1)
    assert mostly_reaching([Outline(large, SIZE, None), Outline(small, SIZE, None)])
    assert not mostly_reaching([Outline(large, SIZE, None), *[Outline(small, SIZE, None)] * 2])
    assert mostly_shares([Outline(large, SIZE, None), Outline(small, SIZE, None)])
    assert not mostly_shares([*[Outline(large, SIZE, None)] * 2, Outline(small, SIZE, None)])


def test_only_outlines_smaller_than_a_pixel_are_harmless() -> None:
    assert Fault("a", "b", SMALL).kind == "small"
    assert {Fault("a", "b", reason).kind for reason in (LINE, NO_OUTLINE, PERCENT, SHARES)} == {"faulty"}


def outlines(corners: list[tuple[float, float]], side: int = 400, box: Box | None = None) -> list[Outline]:
    """Return an outline per corner; each starts at three quarters of the corner's coordinates."""
    extents = [Extent(x * 0.75, y * 0.75, x, y) for x, y in corners]
    return [Outline(extent, (side, side), box) for extent in extents]


EIGHT = [(80.0, 20.0), (10.0, 90.0), *[(30.0, 30.0)] * 6]


@pytest.mark.parametrize(
    ("recognised", "expected"),
    [
        (outlines(EIGHT), True),
        (outlines([*EIGHT, (300, 20)]), False),  # one coordinate in pixels
        (outlines(EIGHT[:7]), False),  # too few
        (outlines(EIGHT, side=150), False),  # pictures hardly larger than 100 pixels
        (outlines([(40, 20)] * 20), False),  # a corner in which all objects lie
        (outlines([(90, 30)] * 20), False),  # a caption along the upper edge
        (outlines([(40, 20)], box=(120, 60, 40, 20)), True),  # the box is in pixels and fits the outline in percent
        (outlines([(40, 20)], box=(30, 15, 10, 5)), False),  # the box fits unscaled
        (outlines([(40, 20)], box=(200, 60, 40, 20)), False),  # the box fits neither
        ([*outlines([(40, 20)], box=(120, 60, 40, 20)), *outlines([(40, 20)] * 3, box=(30, 15, 10, 5))], False),
        (
            [*outlines(EIGHT), *outlines([(90, 60)], box=(67.5, 45, 22.5, 15))],
            False,
        ),  # fits unscaled, and is the only one
        ([], False),
    ],
)
def test_percent_is_recognised_by_boxes_or_many_outlines(recognised: list[Outline], expected: bool) -> None:
    assert in_percent(recognised) is expected


def test_a_box_is_kept_only_as_evidence_of_percent() -> None:
    entry = {"bbox": [1, 2, 3, 4]}
    assert box_of(entry, compact([rectangle(0, 0, 100, 9)])) == (1, 2, 3, 4)
    assert box_of(entry, compact([rectangle(0, 0, 102, 9)])) is None
    for box in ([0, 0, 0, 0], [1, 2], "box", None):
        assert box_of({"bbox": box}, compact([rectangle(0, 0, 9, 9)])) is None
    assert box_of(entry, {"counts": []}) is None and box_of({}, compact([rectangle(0, 0, 9, 9)])) is None


def test_a_frame_fits_within_two_pixels_or_a_fraction_and_damage_fits_any() -> None:
    assert fits_frame([rectangle(0, 0, 642, 480)], SIZE, 0) and not fits_frame([rectangle(0, 0, 643, 480)], SIZE, 0)
    assert fits_frame([rectangle(0, 0, 652, 480)], SIZE, 0.02)
    assert fits_frame({"size": [480, 640], "counts": []}, SIZE, 0)
    assert not fits_frame({"size": [640, 480], "counts": []}, SIZE, 0)
    for damaged in (None, "polygon", [], [["a", "b"] * 3], {"size": "large"}, [[1e9, float("nan")] * 3]):
        assert fits_frame(damaged, SIZE, 0)
