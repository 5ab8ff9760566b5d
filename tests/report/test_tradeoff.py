import math

import pandas as pd
import pytest

from palimpsest.errors import DataError
from palimpsest.report.tradeoff import COLUMN_FORMATS, deviation_of, format_number, pareto_front, summary_table


@pytest.mark.parametrize(
    ("places", "front"),
    [
        ({"a": (1, 0.5)}, ["a"]),
        ({"a": (2, 0.9), "b": (1, 0.5)}, ["b", "a"]),  # a is better, b smaller
        ({"a": (1, 0.9), "b": (2, 0.5)}, ["a"]),
        ({"a": (1, 0.9), "b": (1, 0.5)}, ["a"]),  # b is as large, and worse
        ({"a": (1, 0.9), "b": (2, 0.9)}, ["a"]),  # b is as good, and larger
        ({"a": (1, 0.9), "b": (1, 0.9), "c": (1, 0.8)}, ["a", "b"]),  # equals do not dominate each other
        ({"a": (4, 1.0), "b": (3, 0.7), "c": (2, 0.8), "d": (1, 0.1)}, ["d", "c", "a"]),
        ({}, []),
    ],
)
def test_no_method_dominates_the_front(places, front):
    assert pareto_front(places) == front


def test_written_form_of_numbers():
    assert [format_number(value, 1, signed=True) for value in (-12.34, 3.0, 0.0, -0.01)] == [
        "−12.3",
        "+3.0",
        "0.0",
        "0.0",
    ]
    assert (format_number(math.nan, 1), format_number(1234.5, 0)) == ("", "1,234")


def table(**rows):
    return pd.DataFrame(
        [{"method": name, **dict(zip(COLUMN_FORMATS, row, strict=True))} for name, row in rows.items()]
    )


def test_the_summary_in_the_order_of_the_methods_with_the_front_marked():
    nan = math.nan
    summary = summary_table(
        table(
            scratch=(1.0, 0.0, 0.0, 0.0, 4096, 0, 30.0, 700.4),
            mask=(0.9, -0.05, 0.02, 0.125, 128, 0, 31.25, 701.0),
            worse=(0.8, 0.0, -0.2, nan, 256, 64, nan, nan),
            lost=(nan, -1.0, nan, nan, 64, 0, nan, nan),
        ),
        ["mask", "worse", "lost", "scratch", "never-run"],
    )
    assert [row["method"] for row in summary["rows"]] == ["mask", "worse", "lost", "scratch"]
    assert [row["front"] for row in summary["rows"]] == [True, False, False, True]
    assert [cell["text"] for cell in summary["rows"][0]["cells"]] == [
        "90.0",
        "−5.0",
        "+2.0",
        "+12.5",
        "0.1",
        "0.0",
        "31.2",
        "701",
    ]
    assert summary["left_out"] == ["lost"]
    assert summary["positions"] == {"mask": (128, 0.9), "worse": (256, 0.8), "scratch": (4096, 1.0)}
    assert summary["missing"] == {"reference": False, "costs": False}


def test_an_empty_summary_gives_the_reason():
    nan = math.nan
    summary = summary_table(table(mask=(nan, 0.0, nan, nan, 128, 0, nan, nan)), ["mask"])
    assert summary["missing"] == {"reference": True, "costs": True}
    assert summary["positions"] == {} and summary["front"] == []
    with pytest.raises(DataError, match=r"forgetting\.csv: column 'seconds' is missing"):
        summary_table(table(mask=(1,) * 8).drop(columns="seconds"), ["mask"])


def test_the_deviation_of_quality_covers_seeds_and_pictures():
    both = {"final_quality_std": 0.03, "final_quality_error": 0.04}
    assert deviation_of(both, "final_quality") == pytest.approx(0.05)
    assert deviation_of({"final_quality_error": 0.04}, "final_quality") == 0.04
    assert math.isnan(deviation_of({"final_quality_std": math.nan}, "final_quality"))
