import pytest

from palimpsest.report.chart import PLOT, Axis, Box, Mark, Point, scatter, share_axis, straight


def test_an_axis_reaches_from_its_first_tick_to_its_last() -> None:
    even = Axis("", {-0.5: "", 0.0: "", 1.5: ""})
    assert [even.share(value) for value in (-0.5, 0.0, 1.0, 1.5)] == [0, 0.25, 0.75, 1]
    doubling = Axis("", {4.0: "", 64.0: ""}, logarithmic=True)
    assert [doubling.share(value) for value in (4, 8, 32, 64)] == [0, 0.25, 0.75, 1]


def test_an_axis_in_per_cent_has_signs_that_can_be_read() -> None:
    assert share_axis("kept", [-0.1, 0.1]).ticks == {-0.1: "−10", -0.05: "−5", 0.0: "0", 0.05: "5", 0.1: "10"}
    assert [*share_axis("gained", [-0.1, 0.1], signed=True).ticks.values()] == ["−10", "−5", "+0", "+5", "+10"]


def test_marks_and_lines_stand_where_their_values_say_and_labels_where_none_is_covered() -> None:
    axis = Axis("axis", {0.0: "0", 1.0: "100"})
    drawn = scatter(
        {"one": Mark(0.0, 1.0, "first", strong=True), "two": Mark(1.0, 0.5, "second", strong=False, deviation=0.5)},
        axis,
        axis._replace(title="up"),
        says="two marks",
        level=0.0,
        lines=[[(0.0, 1.0), (1.0, 0.5)]],
    )
    one, two = drawn["points"]
    middle = (PLOT.top + PLOT.bottom) / 2
    assert (one["x"], one["y"], one["low"], one["high"]) == (PLOT.left, *[PLOT.top] * 3)
    assert (two["x"], two["y"], two["low"], two["high"]) == (PLOT.right, middle, PLOT.bottom, PLOT.top)
    assert (one["strong"], two["strong"], two["says"]) == (True, False, "second")
    assert drawn["paths"] == ["M58.0 14.0L732.0 211.0"]
    assert drawn["level"] == PLOT.bottom
    assert (drawn["x_title"], drawn["y_title"]) == ("axis", "up")
    assert drawn["x_ticks"] == [{"x": PLOT.left, "text": "0"}, {"x": PLOT.right, "text": "100"}]
    assert two["label"]["x"] < PLOT.right - 18  # left of its point: there is no room on its right


@pytest.mark.parametrize(
    ("line", "boxes"),
    [
        ([Point(1, 5), Point(9, 5), Point(9, 2)], [Box(1, 4, 9, 6), Box(8, 2, 10, 5)]),
        ([Point(9, 5), Point(1, 5)], [Box(1, 4, 9, 6)]),
        ([Point(1, 5), Point(9, 6)], []),  # a slope is no rectangle
        ([Point(1, 5)], []),
    ],
)
def test_the_straight_parts_of_a_line(line: list[Point], boxes: list[Box]) -> None:
    assert [*straight(line)] == boxes
