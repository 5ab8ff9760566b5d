"""Methods that the report marks as not comparable."""

from typing import Any

import pytest

from palimpsest.params import resolve
from pipeline.report import incomparable

JOINT = {"joint": "learns all tasks at once"}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("paper", JOINT),  # all networks have the same width
        (
            "mini",
            JOINT | dict.fromkeys(("resblock6", "resblock9", "piggyback-resblock"), "of width 8 instead of 16"),
        ),
    ],
)
def test_methods_out_of_comparison_are_named_with_the_reason(
    params_yaml: dict[str, Any], preset: str, expected: dict[str, str]
) -> None:
    assert incomparable(resolve(params_yaml, {"preset": preset, "methods": "all"})) == expected
