"""Methods that the report marks as not comparable, and the command that it states."""

import json
import re
import shlex
from typing import Any

import pytest
from snakemake.cli import parse_config

from palimpsest.params import resolve
from palimpsest.report.tradeoff import incomparable_methods
from palimpsest.stage import SNAPSHOT
from pipeline.report import command_of
from tests.conftest import ROOT

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
    assert incomparable_methods(resolve(params_yaml, {"preset": preset, "methods": "all"})) == expected


def test_the_command_has_the_settings_of_the_command_line(
    params_yaml: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"preset": "real", "data_root": "/my data", "seeds": [0, 1], "training": {"steps": 5}}
    monkeypatch.setenv(SNAPSHOT, json.dumps({"content": params_yaml, "overrides": overrides}))
    command = command_of(resolve(params_yaml, overrides), {})
    start, settings = shlex.split(command)[:5], shlex.split(command)[5:]
    assert start == ["snakemake", "--cores", "all", "all", "--config"]
    assert resolve(params_yaml, parse_config(settings)) == resolve(params_yaml, overrides)
    monkeypatch.delenv(SNAPSHOT)
    monkeypatch.chdir(ROOT)
    assert command_of(resolve(params_yaml), {}) == "snakemake --cores all all --config preset=mini"


def test_every_caption_belongs_to_an_output() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "pipeline/rules").glob("*.smk"))
    used = re.findall(r'reported\(.*, "([a-z]+)", "[A-Z][a-z ]+"\)', rules)
    assert sorted(used) == sorted(path.stem for path in (ROOT / "pipeline/captions").iterdir())
    assert rules.count("reported(") == len(used) + 1  # and its definition
