import json
from pathlib import Path

import pytest

from palimpsest.analysis.conditions import collect_conditions, describe_conditions
from palimpsest.errors import DataError

CPU = {"device": "cpu", "processor": "Fast 3000", "instructions": "AVX2", "threads": "1"}
VERSIONS = {"libraries": {"torch": "2.14.1", "numpy": "2.4.6"}}
ON_CPU = {"conditions": CPU, "trained_on": {"seg": CPU}, **VERSIONS}
CARD = {"device": "Card 9", "cuda": "13.0"}


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_conditions_are_those_of_all_measurements_each_once(tmp_path: Path) -> None:
    origins = [
        written(tmp_path / "a", {"commit": "c2", "trained_in": {"seg": "32-true"}, **ON_CPU}),
        written(tmp_path / "b", {"commit": "c1", "trained_in": {"seg": "bf16-mixed"}, **ON_CPU}),
        written(tmp_path / "floor", {"commit": "c1", "conditions": CARD}),
    ]
    counted = {"train": {"pictures": 90}, "dev": {"pictures": 10}, "val": {"pictures": 1200}}
    segmentation = {"size": 64, "splits": counted, "labels": {"val": {"ignored": 0.125}}}
    infos = {
        "seg": written(tmp_path / "seg.json", segmentation),
        "colour": written(tmp_path / "colour.json", {"size": 64, "splits": {"val": {"pictures": 4}}}),
    }
    conditions = collect_conditions(origins, infos, {"base": 1400, "colour": 240})
    assert conditions["pictures"] == {
        "seg": {"side": 64, "train": 90, "dev": 10, "val": 1200, "ignored": 0.125},
        "colour": {"side": 64, "val": 4, "ignored": 0.0},
    }
    assert conditions["steps"] == {"base": 1400, "colour": 240}
    assert conditions["measured"] == [CPU, CARD]
    assert conditions["trained_in"] == ["32-true", "bf16-mixed"] and conditions["commits"] == ["c1", "c2"]
    assert conditions["trained"] == [CPU]
    text = describe_conditions(conditions)
    assert text == (
        "Measured on whole pictures of 64 × 64 pixels of the validation split: 1,200 for seg, 4 for colour. "
        "Pixels ignored there: 12.5% for seg. Steps of training: 1,400 for base, 240 for colour. "
        "Trained in float32 and bfloat16 on Fast 3000 (AVX2, 1 thread) and measured in float32 on Fast 3000 "
        "(AVX2, 1 thread); Card 9 (CUDA 13.0); torch 2.14.1, numpy 2.4.6; commit c1, c2."
    )


def test_a_machine_that_trained_and_measured_is_named_once() -> None:
    conditions = {"pictures": {"seg": {"side": 64, "val": 2, "ignored": 0.0}}, "steps": {"base": 3}}
    machines = {"measured": [CPU, {**CPU, "torch": "2"}], "trained": [CPU], "trained_in": ["32-true"]}
    text = describe_conditions({**conditions, **machines, "commits": [], "libraries": {"torch": ["2", "3"]}})
    assert text.endswith(
        "Trained in float32 and measured in float32 on Fast 3000 (AVX2, 1 thread); torch 2 and 3; "
        "commit not recorded."
    )


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text("{")
    with pytest.raises(DataError, match=r"origin\.json: is missing or damaged"):
        collect_conditions([tmp_path / "origin.json"], {}, {})
