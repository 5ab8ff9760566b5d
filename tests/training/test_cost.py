import json
import time
from pathlib import Path

import pytest

from palimpsest.training.cost import MIB, Cost, CostMeter, load_cost, peak_memory, save_cost


def test_time_and_memory_are_counted_from_the_start() -> None:
    meter = CostMeter("key")
    time.sleep(0.05)
    cost = meter.cost("ab")
    assert 0.05 <= cost.seconds < 5
    assert 50 < cost.peak_memory == pytest.approx(peak_memory() / MIB, rel=0.1)  # PyTorch alone is larger
    assert (cost.key, cost.sha256) == ("key", "ab")
    assert cost.figures() == {"seconds": cost.seconds, "peak_memory": cost.peak_memory}


def test_a_resumed_training_adds_to_its_earlier_cost() -> None:
    before = Cost("key", seconds=100.0, peak_memory=1e9)
    cost = CostMeter("key", before).cost()
    assert 100 < cost.seconds < 105 and cost.peak_memory == 1e9


def test_the_cost_of_another_training_is_ignored() -> None:
    assert CostMeter("key", Cost("another", 100.0, 1e9)).cost().seconds < 5


def test_a_record_is_read_as_written(tmp_path: Path) -> None:
    cost = Cost("key", 12.5, 640.0, "ab")
    save_cost(tmp_path / "logs" / "record.json", cost)
    assert load_cost(tmp_path / "logs" / "record.json") == cost


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", json.dumps({"key": "a", "years": 3}), "{}"])
def test_an_invalid_record_is_none(tmp_path: Path, text: str) -> None:
    assert load_cost(tmp_path / "absent.json") is None
    (tmp_path / "record.json").write_text(text)
    assert load_cost(tmp_path / "record.json") is None
