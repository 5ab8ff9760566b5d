"""Table of a long sequence."""

from pathlib import Path

import pandas as pd
import pytest

from palimpsest.report.sequence import sequence_table

TASKS = ("first", "second", "third")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the tables of two seeds: masks of 10 KiB, and networks of 100 KiB."""
    quality, growth, costs = [], [], []
    for seed in (0, 1):
        for method, size in (("scratch", 100), ("piggyback", 10)):
            for number, task in enumerate(TASKS):
                learned = 1.0 if method == "scratch" else 0.9 + 0.02 * seed
                quality.append((seed, method, task, learned, learned - 0.1 * (number == 0)))
                total = 100 + size * number
                growth += [(seed, method, task, "run", 1024 * total), (seed, method, task, "learn", 5)]
                costs.append((seed, method, task, 20.0 + number + seed))
    columns = ["seed", "method", "task"]
    tables = {
        "quality": pd.DataFrame(quality, columns=[*columns, "learned", "final"]),
        "growth": pd.DataFrame(growth, columns=[*columns, "needed_to", "bytes"]),
        "costs": pd.DataFrame(costs, columns=[*columns, "seconds"]),
    }
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_a_row_per_task_has_quality_bytes_and_time(folder: Path) -> None:
    lines = sequence_table(folder, "piggyback").splitlines()
    assert lines[2] == "| 1 | `first` | 91.0 | 81.0 | 100.0 | 100.0 | 20.5 |"
    assert lines[4] == "| 3 | `third` | 91.0 | 91.0 | 10.0 | 100.0 | 22.5 |"
    assert lines[5] == "|  | all | 91.0 | 87.7 | 120.0 | 300.0 | 64.5 |"


def test_a_task_without_a_scale_has_a_dash(folder: Path) -> None:
    quality = pd.read_csv(folder / "quality.csv")
    quality.loc[quality["task"] == "second", ["learned", "final"]] = float("nan")
    quality.to_csv(folder / "quality.csv", index=False)
    assert "| 2 | `second` | – | – | 10.0 | 100.0 | 21.5 |" in sequence_table(folder, "piggyback")
