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
    by_method,
    curves,
    figures,
    load_ablations,
    steps_table,
)
from palimpsest.report.series import curve_chart
from palimpsest.report.tradeoff import summary_table

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
    table = pd.DataFrame(rows, columns=columns_of("metrics")).assign(steps=steps)
    sizes = {("scratch", "seg"): 1000, ("scratch", "colour"): 2000, ("piggyback", "seg"): 1000}
    table["bytes"] = [
        sizes.get(key, 1040 if key[0] == "piggyback" else math.nan)
        for key in zip(table["method"], table["task"], strict=True)
    ]
    return table


SHORT = Ablation("short", table(14.9, 17.9, 80), {STEPS: ("80", "240"), "sequence": ("['seg']", "['seg']")})
ONCE = Ablation("once", table(9.9, 11.9, 240), {"sequence": ("['seg']", "['seg']")})
LOSS = Ablation("loss", table(9.9, 11.9, 240), {"tasks.style.own_share": ("1", "0.1")})


def test_an_ablation_has_a_row_per_method_with_its_quality() -> None:
    lines = ablation_table(SHORT, SEQUENCE).splitlines()
    assert lines[0] == (
        "|  | `seg` mIoU (%) ↑ | `colour` CIEDE2000 (ΔE) ↓ | `seg` after `colour` mIoU (%) ↑ | final quality (%) "
        "| backward transfer (%) | forward transfer (%) | KiB a task, to run |"
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


def of_piggyback(name: str, colour: float, setting: str) -> Ablation:
    """Return an ablation of `piggyback` that changes one setting."""
    return Ablation(name, table(9.9, colour, 240), {setting: ("1", "2")})


def test_ablations_of_one_method_are_rows_of_one_table() -> None:
    sequence = SEQUENCE[:2]
    few = of_piggyback("few", 14.9, "method_settings.piggyback.initial_score")
    many = of_piggyback("many", 11.9, "learning_rates.piggyback")
    other = of_piggyback("other", 11.9, "method_settings.coded.bits")  # of another method than the one that learns
    ([joined], others) = by_method([few, other, SHORT, many], sequence)
    assert joined.name == "piggyback" and others == [other, SHORT]
    assert by_method([few], SEQUENCE) == ([], [few])  # it lacks a task
    table_of = ablation_table(joined, sequence).splitlines()
    assert [line.split(" | ")[0] for line in table_of[3:]] == ["| `scratch`", "| `few`", "| `many`"]
    assert "KiB a task" in table_of[0]
    figures_of = figures(joined, sequence).set_index("method")
    assert figures_of["final_quality"].round(3).to_dict() == {"scratch": 1.0, "few": 0.75, "many": 0.9}
    assert figures_of["bytes_per_added_task"].to_dict() == {"scratch": 1000.0, "few": 40.0, "many": 40.0}
    section = ablation_sections([few, many], sequence)
    assert section is not None and [one["name"] for one in section["tables"]] == ["piggyback"]
    assert section["tables"][0]["changes"] == (
        "few: method_settings.piggyback.initial_score = 1 (preset: 2), "
        "many: learning_rates.piggyback = 1 (preset: 2)"
    )
    of_scratch = figures_of.loc[["scratch"]].reset_index()
    summary = summary_table(of_scratch, ["scratch"], {}, section["figures"])
    assert set(summary["positions"]) == {"scratch", "few", "many"} and [
        row["method"] for row in summary["rows"]
    ] == ["scratch"]
    assert summary["front"] == ["many", "scratch"]
    excluded = summary_table(of_scratch, ["scratch"], {"piggyback": "half the width"}, section["figures"])
    assert excluded["front"] == ["scratch"] and excluded["incomparable"] == {"half the width": ["few", "many"]}


def test_ablations_of_one_method_have_no_curve_of_steps() -> None:
    unchanged = Ablation("unchanged", table(9.9, 11.9, 240), {})
    (curve,) = curves([unchanged, SHORT, ONCE._replace(changes={STEPS: ("240", "240")})], SEQUENCE[:2])
    assert curve.points.keys() == {"scratch", "piggyback"} and len(curve.points["piggyback"]) == 2
    other = of_piggyback("other", 11.9, "learning_rates.piggyback-affine")
    assert by_method([other], SEQUENCE[:2]) == ([], [other])
    without_scratch = of_piggyback("few", 14.9, "learning_rates.piggyback")
    rows = without_scratch.metrics[without_scratch.metrics["method"] != "scratch"]
    ([joined], _) = by_method([without_scratch._replace(metrics=rows), unchanged], SEQUENCE[:2])
    assert joined.methods == ["few", "scratch", "unchanged"]
