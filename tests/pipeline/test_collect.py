"""Tables of a preset, collected from tables of methods."""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from palimpsest.analysis.conditions import library_versions
from palimpsest.analysis.tables import COLUMNS
from palimpsest.layout import Layout
from palimpsest.params import resolve
from palimpsest.report.page import Origin, render
from palimpsest.settings import FLOOR, Settings
from pipeline import collect

CONDITIONS = {"device": "cpu", "processor": "Fast 3000", "instructions": "AVX2", "threads": "1"}


def prepared(settings: Settings, layout: Layout) -> None:
    """Write an `info.json` for each task, and an `origin.json` for the floor and each method."""
    for method in (FLOOR, *settings.methods):
        layout.origin(0, method).parent.mkdir(parents=True, exist_ok=True)
        origin = {"commit": "c0ffee", "conditions": CONDITIONS, "libraries": library_versions()}
        layout.origin(0, method).write_text(json.dumps(origin))
    for task in settings.sequence:
        path = layout.prepared(task) / "info.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"size": 32, "splits": {"val": {"pictures": 2}}, "left_out": []}')


def test_a_run_without_masks_has_empty_tables_of_masks_and_a_report(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = resolve(content, {"methods": ["scratch"]})
    layout = Layout(settings.preset)
    folder = layout.evaluation(0, "scratch")
    folder.mkdir(parents=True)
    row = ("shapes", "shapes", "miou", 50.0, 2, "ab", 1.0)
    pd.DataFrame([row], columns=COLUMNS["metrics"]).to_csv(folder / "metrics.csv", index=False)
    verified = {"task": "shapes", "after": "shapes", "outcome": "verified", "reason": ""}
    pd.DataFrame([verified]).to_csv(folder / "verification.csv", index=False)
    for name in COLUMNS.keys() - {"metrics", "verification"}:
        (folder / f"{name}.csv").write_text("\n")  # as evaluate writes a table without rows
    prepared(settings, layout)
    collect.main(settings, layout, argparse.Namespace())
    for name in ("zeros", "similarity"):
        table = pd.read_csv(layout.results / "analysis" / f"{name}.csv")
        assert table.empty and {"seed", "method", "task"} < set(table.columns)
    info = Path("data/prepared/shapes/info.json")
    info.parent.mkdir(parents=True)
    info.write_text('{"splits": {}, "left_out": []}')
    page = render(layout.results, Path("data"), [("shapes", "segmentation")], ["scratch"], Origin("tiny"))
    assert "No method of this run stores masks" in page


def test_the_forgetting_summary_has_measured_values_and_lacks_others(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = resolve(content, {"methods": ["scratch", "piggyback"], "sequence": ["shapes", "halves"]})
    layout = Layout(settings.preset)
    floor = layout.evaluation(0, "floor")
    floor.mkdir(parents=True)
    cells = pd.DataFrame(
        [("shapes", "shapes", 10.0), ("halves", "halves", 20.0)], columns=["task", "after", "value"]
    )
    constant = {"metric": "miou", "images": 2, "checksum": "ab", "std_error": 0.0}
    cells.assign(**constant).to_csv(floor / "metrics.csv", index=False)
    for method, halves, stored in (("scratch", 80.0, 3000), ("piggyback", 60.0, 1100)):
        folder = layout.evaluation(0, method)
        folder.mkdir(parents=True)
        cells = [("shapes", "shapes", 90.0), ("shapes", "halves", 90.0), ("halves", "halves", halves)]
        metrics = pd.DataFrame(cells, columns=["task", "after", "value"])
        metrics.assign(**constant).to_csv(folder / "metrics.csv", index=False)
        sizes = [{"task": "shapes", "component": "network", "bytes": stored, "needed_to": "run"}]
        pd.DataFrame(sizes).to_csv(folder / "sizes.csv", index=False)
        growth = [("shapes", "run", 1000), ("halves", "run", stored)]
        if method == "scratch":
            growth += [("shapes", "learn", 500), ("halves", "learn", 700)]
        pd.DataFrame(growth, columns=["task", "needed_to", "bytes"]).to_csv(folder / "growth.csv", index=False)
        for name in ("zeros", "similarity", "diagnostics"):
            (folder / f"{name}.csv").write_text("\n")
    costs = pd.DataFrame([("halves", 12.5, 700.0)], columns=["task", "seconds", "peak_memory"])
    costs.to_csv(layout.evaluation(0, "scratch") / "costs.csv", index=False)
    (layout.evaluation(0, "piggyback") / "costs.csv").write_text("\n")  # as without a record
    prepared(settings, layout)
    collect.main(settings, layout, argparse.Namespace())
    table = pd.read_csv(layout.results / "forgetting.csv", index_col="method")
    names = ["final_quality", "backward_transfer", "forward_transfer", "bytes_per_added_task", "learn_bytes"]
    assert table.loc["scratch", names].tolist() == [1, 0, 0, 2000, 700] and table.loc["scratch", "seconds"] == 12.5
    assert table.loc["piggyback", names[:4]].tolist() == pytest.approx([(1 + 2 / 3) / 2, 0, -1 / 3, 100])
    quality = pd.read_csv(layout.results / "quality.csv", index_col=["method", "task"])
    assert quality.loc[("piggyback", "halves"), "learned"] == pytest.approx(2 / 3)
    pairs = pd.read_csv(layout.results / "comparisons.csv")
    assert set(pairs["task"]) == {"shapes", "halves", "all"} and pairs["p"].isna().all()
    assert table.loc["piggyback", ["learn_bytes", "seconds", "peak_memory"]].isna().all()
    assert list(pd.read_csv(layout.results / "diagnostics.csv")) == ["seed", "method", "task", "name", "value"]
    assert len(pd.read_csv(layout.results / "analysis/growth.csv")) == 6
    assert len(pd.read_csv(layout.results / "analysis/costs.csv")) == 1


def test_the_steps_of_all_trainings_are_stated(content: dict[str, Any]) -> None:
    chosen = {
        "methods": ["scratch", "scratch-long", "resblock6"],
        "base": {"steps": 9},
        "autoencoder": {"steps": 4},
    }
    settings = resolve(content, {**chosen, "tasks": {"colour": {"training": {"steps": 2}}}})
    assert collect.steps_of(settings) == {
        "base": 9,
        "autoencoder": 4,
        "halves": 6,
        "colour": 2,
        "halves with scratch-long": 15,
        "colour with scratch-long": 11,
    }
