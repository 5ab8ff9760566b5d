"""Methods that the report marks as not comparable."""

from typing import Any

import pytest

from palimpsest.params import resolve
from pipeline.report import incomparable

JOINT = {"joint": "learns all tasks at once"}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("paper", JOINT),  # where all networks have one width
        (
            "mini",
            JOINT | dict.fromkeys(("resblock6", "resblock9", "piggyback-resblock"), "of width 8 instead of 16"),
        ),
    ],
)
def test_what_is_no_rival_to_the_others_is_named_with_the_reason(
    params_yaml: dict[str, Any], preset: str, expected: dict[str, str]
) -> None:
    assert incomparable(resolve(params_yaml, {"preset": preset, "methods": "all"})) == expected
