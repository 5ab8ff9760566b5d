import math
import random
from itertools import combinations

import pandas as pd
import pytest

from palimpsest.errors import DataError
from palimpsest.methods import METHODS
from palimpsest.report.chart import PLOT, SYMBOL, Box, Point, crosses, placed, share_ticks
from palimpsest.report.tradeoff import SHOWN, byte_ticks, chart, number, pareto_front, size, summary_table


@pytest.mark.parametrize(
    ("places", "front"),
    [
        ({"a": (1, 0.5)}, ["a"]),
        ({"a": (2, 0.9), "b": (1, 0.5)}, ["b", "a"]),  # one is better, the other smaller
        ({"a": (1, 0.9), "b": (2, 0.5)}, ["a"]),
        ({"a": (1, 0.9), "b": (1, 0.5)}, ["a"]),  # as large, and worse
        ({"a": (1, 0.9), "b": (2, 0.9)}, ["a"]),  # as good, and larger
        ({"a": (1, 0.9), "b": (1, 0.9), "c": (1, 0.8)}, ["a", "b"]),  # equals do not dominate each other
        ({"a": (4, 1.0), "b": (3, 0.7), "c": (2, 0.8), "d": (1, 0.1)}, ["d", "c", "a"]),
        ({}, []),
    ],
)
def test_the_front_are_those_that_nobody_dominates(places, front):
    assert pareto_front(places) == front


def crowd(seed, octaves):
    """All methods but one within so many octaves of bytes and per cents of quality; the one far below."""
    choice = random.Random(seed)
    places = {m: (2 ** choice.uniform(14, 14 + octaves), choice.uniform(1 - octaves / 100, 1)) for m in METHODS}
    return places | {"fine-tune": (9.0e3, 0.05)}


MEASURED = {
    "scratch": (4.6e6, 1.0),
    "fine-tune": (9.0e3, 0.07),
    "decoder": (1.3e6, 0.93),
    "piggyback": (1.25e5, 0.90),
    "ewc": (9.1e3, 0.31),
    "lwf": (9.2e3, 0.62),
    "packnet": (7.0e4, 0.88),
    "batchnorm": (9.5e3, 0.70),
    "adapter": (6.0e5, 0.97),
    "modulation": (4.0e4, 0.86),
    "bitdelta": (1.4e5, 1.01),
    "piggyback-ternary": (2.4e5, 0.925),
    "piggyback-affine": (1.26e5, 0.91),
    "piggyback-gan": (1.2e6, 0.95),
    "joint": (9.3e3, 1.03),
    "resblock6": (2.2e6, 0.80),
    "resblock9": (3.3e6, 0.82),
    "piggyback-resblock": (1.0e5, 0.78),
}


@pytest.mark.parametrize("places", [MEASURED, crowd(0, 9), crowd(1, 9), crowd(0, 3), crowd(0, 0.1)])
def test_the_labels_of_all_methods_are_apart_and_leave_the_symbols_free(places):
    drawn = chart(places, dict.fromkeys(places, math.nan), pareto_front(places))
    points = {point["name"]: Point(point["x"], point["y"]) for point in drawn["points"]}
    labels = placed(points, [])
    assert labels.keys() == METHODS.keys()
    assert all(label.within(PLOT) for label in labels.values())
    assert not any(one.overlaps(other) for one, other in combinations(labels.values(), 2))
    for point in points.values():
        symbol = Box(point.x - SYMBOL, point.y - SYMBOL, point.x + SYMBOL, point.y + SYMBOL)
        assert not any(label.overlaps(symbol) for label in labels.values())


@pytest.mark.parametrize("places", [MEASURED, crowd(0, 9), crowd(1, 9)])
def test_the_line_from_a_point_to_its_label_crosses_no_other_label(places):
    drawn = chart(places, dict.fromkeys(places, math.nan), pareto_front(places))
    points = {point["name"]: Point(point["x"], point["y"]) for point in drawn["points"]}
    labels = placed(points, [])
    for name, label in labels.items():
        line = (points[name], label.nearest(points[name]))
        assert not any(crosses(line, other) for of, other in labels.items() if of != name)


@pytest.mark.parametrize(
    ("start", "end", "crossed"),
    [
        ((0, 5), (20, 5), True),
        ((0, 0), (20, 20), True),  # through the corner's inside
        ((0, 2), (20, 2), False),  # past it
        ((0, 5), (8, 5), False),  # ends before it
        ((12, 6), (13, 7), True),  # inside
        ((15, 0), (15, 20), True),
        ((0, 4), (20, 4), False),  # along an edge
    ],
)
def test_whether_a_line_crosses_a_rectangle(start, end, crossed):
    assert crosses((Point(*start), Point(*end)), Box(10, 4, 18, 12)) is crossed


def test_points_in_one_place_have_labels_of_their_own():
    labels = placed(dict.fromkeys(["one", "two", "three"], Point(300.0, 200.0)), [])
    assert not any(a.overlaps(b) for a, b in combinations(labels.values(), 2))


def test_a_lone_label_stands_right_of_its_point():
    (label,) = placed({"alone": Point(300.0, 200.0)}, []).values()
    assert label == Box(308.0, 193.5, 338.0, 206.5)


def test_the_axes_hold_every_point_and_a_network_per_task():
    drawn = chart({"a": (1024, 0.91), "b": (2**20, 0.97)}, {"a": math.nan, "b": 0.02}, ["a", "b"])
    assert [tick["text"] for tick in drawn["x_ticks"]] == ["1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB"]
    assert [tick["text"] for tick in drawn["y_ticks"]] == ["90", "92", "94", "96", "98", "100"]
    a, b = drawn["points"]
    assert (a["x"], b["x"]) == (PLOT.left, PLOT.right)
    assert drawn["level"] == PLOT.top
    assert a["low"] == a["y"] == a["high"] and b["low"] > b["y"] > b["high"]
    assert drawn["paths"] == [f"M{a['x']} {a['y']}L{b['x']} {a['y']}L{b['x']} {b['y']}L732.0 {b['y']}"]
    assert b["says"] == "b: 97.0 %, 1 MiB"


def test_the_axis_of_a_single_value_has_a_length():
    assert byte_ticks([1024.0]) == [1024, 2048]
    assert share_ticks([1.0]) == [100, 101]


@pytest.mark.parametrize("low", [1.0, 0.03, -3.0])
def test_axes_have_at_most_nine_ticks(low):
    assert 2 <= len(share_ticks([low, 1.07])) <= 9
    assert 2 <= len(byte_ticks([3.0, 5000 / max(low, 0.001)])) <= 9


def test_numbers_as_they_are_written():
    assert [number(value, 1, signed=True) for value in (-12.34, 3.0, 0.0, -0.01)] == ["−12.3", "+3.0", "0.0", "0.0"]
    assert (number(math.nan, 1), number(1234.5, 0)) == ("", "1,234")
    assert [size(count) for count in (12.0, 1536, 200 * 1024, 2.5 * 2**20)] == [
        "12 B",
        "1.5 KiB",
        "200 KiB",
        "2.5 MiB",
    ]


def table(**rows):
    return pd.DataFrame([{"method": name, **dict(zip(SHOWN, row, strict=True))} for name, row in rows.items()])


def test_the_summary_in_the_order_of_the_methods_with_the_front_marked():
    nan = math.nan
    found = summary_table(
        table(
            scratch=(1.0, 0.0, 0.0, 4096, 0, 30.0, 700.4),
            mask=(0.9, -0.05, 0.02, 128, 0, 31.25, 701.0),
            worse=(0.8, 0.0, -0.2, 256, 64, nan, nan),
            lost=(nan, -1.0, nan, 64, 0, nan, nan),
        ),
        ["mask", "worse", "lost", "scratch", "never-run"],
    )
    assert [row["method"] for row in found["rows"]] == ["mask", "worse", "lost", "scratch"]
    assert [row["front"] for row in found["rows"]] == [True, False, False, True]
    assert [cell["text"] for cell in found["rows"][0]["cells"]] == [
        "90.0",
        "−5.0",
        "+2.0",
        "0.1",
        "0.0",
        "31.2",
        "701",
    ]
    assert found["left_out"] == ["lost"]
    assert found["missing"] == {"reference": False, "costs": False}


def test_the_summary_says_what_makes_it_empty():
    nan = math.nan
    found = summary_table(table(mask=(nan, 0.0, nan, 128, 0, nan, nan)), ["mask"])
    assert found["missing"] == {"reference": True, "costs": True}
    assert found["chart"] is None and found["front"] == []
    assert summary_table(None, ["mask"]) is None
    with pytest.raises(DataError, match=r"forgetting\.csv: column 'seconds' is missing"):
        summary_table(table(mask=(1,) * 7).drop(columns="seconds"), ["mask"])
