"""Refused settings of compositions."""

import re
from typing import Any

import pytest

from palimpsest.errors import SettingsError
from palimpsest.params import resolve

Content = dict[str, Any]

TWO = {"first": "style-gogh", "second": "style-munch", "method": "piggyback", "ways": ["blend"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fist": "colorize"}, "compositions.0.fist: unknown setting; did you mean 'first'?"),
        (
            {"first": "style-gohg"},
            "compositions.0.first: unknown task 'style-gohg'; did you mean 'style-gogh'?",
        ),
        ({"second": "colorise"}, "compositions.0.second: unknown task 'colorise'; did you mean 'colorize'?"),
        (
            {"method": "pigyback"},
            "compositions.0.method: unknown method 'pigyback'; did you mean 'piggyback'?",
        ),
        ({"ways": []}, "compositions.0.ways: List should have at least 1 item"),
        ({"ways": ["mixed"]}, "compositions.0.ways.0: Input should be 'two-stage', 'sequential', 'alternate'"),
        (
            {"ways": ["two-stage", "two-stage"]},
            "compositions.0.ways: duplicate entry 'two-stage'; remove one",
        ),
        (
            {"ways": ["sequential"]},
            "compositions.0.ways: piggyback cannot compose by 'sequential'; use two-stage, blend",
        ),
        (
            {"method": "resblock6"},
            "compositions.0.ways: resblock6 cannot compose by 'blend'; use two-stage, sequential, alternate",
        ),
        ({"method": "decoder"}, "compositions.0.ways: decoder cannot compose by 'blend'; use two-stage"),
        ({"steps": 1}, "compositions.0.steps: Input should be greater than or equal to 2"),
        (
            {"second": "style-gogh"},
            "compositions.0: first and second are both style-gogh; name two tasks",
        ),
        (
            {"first": "voc-seg", "ways": ["two-stage"]},
            "compositions.0.first: voc-seg predicts no picture, and style-munch needs one; make it the second "
            "task, or give it a loss on pictures",
        ),
        (
            {"first": "colorize"},
            "compositions.0.ways: cannot blend colorize with style-munch: their kinds are colorization and style; "
            "remove blend, or name two tasks of one kind",
        ),
    ],
)
def test_a_composition_that_cannot_be_made_is_refused(params_yaml: Content, changes: Content, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        resolve(params_yaml, {"compositions": [{**TWO, **changes}]})


def test_a_blend_of_two_forms_of_output_is_refused(params_yaml: Content) -> None:
    chroma = {"kind": "colorization", "data": "coco", "output": "chroma"}
    made = {**TWO, "first": "colorize", "second": "chroma"}
    message = (
        "compositions.0.ways: cannot blend colorize with chroma: their outputs are rgb and chroma; remove blend"
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        resolve(params_yaml, {"compositions": [made], "tasks": {"chroma": chroma}})
    resolve(params_yaml, {"compositions": [made], "tasks": {"chroma": {**chroma, "output": "rgb"}}})
    painted = {"coco-seg": {"loss": "l1"}}
    labels = {**TWO, "first": "coco-seg", "second": "voc-seg"}
    with pytest.raises(SettingsError, match="cannot blend coco-seg with voc-seg: their outputs are rgb and scores"):
        resolve(params_yaml, {"compositions": [labels], "tasks": painted})


def test_a_duplicate_composition_is_refused(params_yaml: Content) -> None:
    again = {**TWO, "ways": ["two-stage"]}
    with pytest.raises(SettingsError, match=r"^compositions: duplicate entry 'piggyback-style-gogh.*; remove one$"):
        resolve(params_yaml, {"compositions": [TWO, again]})


def test_a_painted_label_map_may_be_the_first_task(params_yaml: Content) -> None:
    made = {"first": "voc-seg", "second": "style-munch", "method": "piggyback-resblock", "ways": ["alternate"]}
    resolve(params_yaml, {"compositions": [made], "tasks": {"voc-seg": {"loss": "l1"}}})
