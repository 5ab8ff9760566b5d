import math
from pathlib import Path

import pandas as pd
import pytest

from palimpsest.analysis.tables import columns_of
from palimpsest.errors import DataError
from palimpsest.report.ablation import (
    STEPS,
    Ablation,
    ablation_sections,
    ablation_table,
    curves,
    load_ablations,
    steps_table,
)
from palimpsest.report.series import curve_chart

SEQUENCE = [("seg", "segmentation"), ("colour", "colorization"), ("style", "style")]


def table(scratch: float, piggyback: float, steps: int, seeds: int = 3) -> pd.DataFrame:
    """Return metrics of two tasks; the colours of both methods vary by 0.1 between seeds."""
    rows = []
    for seed in range(seeds):
        for method, colour in (("floor", 20.0), ("scratch", scratch), ("piggyback", piggyback)):
            noise = 0.1 * seed * (method != "floor")
            miou = 10.0 if method == "floor" else 90.0
            rows.append((seed, method, "seg", "seg", "miou", miou, 8, "c", 0.0))
            rows.append((seed, method, "colour", "colour", "ciede2000", colour + noise, 8, "c", 0.0))
            if method != "floor":
                rows.append((seed, method, "seg", "colour", "miou", miou, 8, "c", 0.0))
    return pd.DataFrame(rows, columns=columns_of("metrics")).assign(steps=steps)


SHORT = Ablation("short", table(14.9, 17.9, 80), {STEPS: ("80", "240"), "sequence": ("['seg']", "['seg']")})
ONCE = Ablation("once", table(9.9, 11.9, 240), {"sequence": ("['seg']", "['seg']")})
LOSS = Ablation("loss", table(9.9, 11.9, 240), {"tasks.style.own_share": ("1", "0.1")})


def test_an_ablation_has_a_row_per_method_with_its_quality() -> None:
    lines = ablation_table(SHORT, SEQUENCE).splitlines()
    assert lines[0] == (
        "|  | `seg` mIoU (%) ↑ | `colour` CIEDE2000 (ΔE) ↓ | `seg` after `colour` mIoU (%) ↑ | final quality (%) "
        "| backward transfer (%) | forward transfer (%) |"
    )
    scratch, piggyback = lines[3:]
    assert "| **15.00 ± 0.10** |" in scratch and "| 18.00 ± 0.10 |" in piggyback
    assert "| 70.0 ± " in piggyback  # (100 % + 40 %) ÷ 2


def test_a_curve_has_a_point_per_number_of_steps_with_its_quality() -> None:
    (curve,) = curves([SHORT, ONCE, LOSS], SEQUENCE)
    assert (curve.task, curve.metric.label) == ("colour", "CIEDE2000")
    assert [(steps, round(mean, 6)) for steps, mean, *_ in curve.points["piggyback"]] == [(80, 18.0), (240, 12.0)]
    assert [round(quality, 3) for *_, quality in curve.points["piggyback"]] == [0.400, 0.800]
    assert steps_table([curve]).splitlines()[2:] == [
        "| `colour` CIEDE2000 (ΔE) ↓ | `scratch` | 15.00 ± 0.10 (100 %) | 10.00 ± 0.10 (100 %) |",
        "|  | `piggyback` | 18.00 ± 0.10 (40 %) | 12.00 ± 0.10 (80 %) |",
    ]
    assert curves([ONCE, LOSS], SEQUENCE) == []
    same_steps = SHORT._replace(metrics=SHORT.metrics.assign(steps=240))  # a task with steps of its own
    assert curves([same_steps, ONCE], SEQUENCE) == []


def test_tasks_outside_the_sequence_are_left_out() -> None:
    assert "`colour`" not in ablation_table(SHORT, SEQUENCE[:1])
    assert curves([SHORT, ONCE], SEQUENCE[:1]) == []
    section = ablation_sections([SHORT], [("other", "segmentation")])
    assert section is not None and section["tables"] == []


def test_a_chart_has_a_line_per_method() -> None:
    (curve,) = curves([SHORT, ONCE], SEQUENCE)
    chart = curve_chart(curve, [])
    assert ">scratch</text>" in chart.svg and ">piggyback</text>" in chart.svg and ">240</text>" in chart.svg
    assert "<title>piggyback, 80 steps: 18.00</title>" in chart.svg


def test_the_section_lists_changes_with_the_values_of_the_preset() -> None:
    section = ablation_sections([LOSS], SEQUENCE)
    assert section is not None and section["curves"] == []
    assert section["tables"][0]["changes"] == "tasks.style.own_share = 1 (preset: 0.1)"
    assert ablation_sections([], SEQUENCE) is None


def test_tables_are_read_and_damaged_ones_named(tmp_path: Path) -> None:
    folder = tmp_path / "ablation"
    folder.mkdir()
    SHORT.metrics.to_csv(folder / "short.csv", index=False)
    rows = [(setting, *values) for setting, values in SHORT.changes.items()]
    settings = pd.DataFrame(rows, columns=["setting", "set_to", "in_preset"])
    settings.to_csv(folder / "short-settings.csv", index=False)
    (loaded,) = load_ablations(tmp_path)
    assert loaded.changes == SHORT.changes and loaded.methods == ["scratch", "piggyback"]
    assert math.isclose(loaded.metrics["value"].sum(), SHORT.metrics["value"].sum())
    (folder / "short-settings.csv").unlink()
    with pytest.raises(DataError, match=r"short\.csv: not a readable table"):
        load_ablations(tmp_path)
