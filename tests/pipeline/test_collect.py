"""Tables of a preset, collected from tables of methods."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from palimpsest.analysis.tables import COLUMNS
from palimpsest.layout import Layout
from palimpsest.params import resolve
from palimpsest.report.page import Origin, render
from pipeline import collect


def test_a_run_without_masks_has_empty_tables_of_masks_and_a_report(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = resolve(content, {"methods": ["scratch"]})
    layout = Layout(settings.preset)
    folder = layout.evaluation(0, "scratch")
    folder.mkdir(parents=True)
    row = {"task": "shapes", "after": "shapes", "metric": "miou", "value": 50.0, "images": 2, "checksum": "ab"}
    pd.DataFrame([row]).to_csv(folder / "metrics.csv", index=False)
    verified = {"task": "shapes", "after": "shapes", "outcome": "verified", "reason": ""}
    pd.DataFrame([verified]).to_csv(folder / "verification.csv", index=False)
    for name in COLUMNS.keys() - {"metrics", "verification"}:
        (folder / f"{name}.csv").write_text("\n")  # as evaluate writes a table without rows
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
    for method, halves, stored in (("scratch", 80.0, 3000), ("piggyback", 60.0, 1100)):
        folder = layout.evaluation(0, method)
        folder.mkdir(parents=True)
        cells = [("shapes", "shapes", 90.0), ("shapes", "halves", 90.0), ("halves", "halves", halves)]
        metrics = pd.DataFrame(cells, columns=["task", "after", "value"])
        metrics.assign(metric="miou", images=2, checksum="ab").to_csv(folder / "metrics.csv", index=False)
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
    collect.main(settings, layout, argparse.Namespace())
    table = pd.read_csv(layout.results / "forgetting.csv", index_col="method")
    assert table.loc["scratch"].tolist()[:5] == [1, 0, 0, 2000, 700] and table.loc["scratch", "seconds"] == 12.5
    assert table.loc["piggyback"].tolist()[:4] == [(1 + 0.75) / 2, 0, -0.25, 100]
    assert table.loc["piggyback", ["learn_bytes", "seconds", "peak_memory"]].isna().all()
    assert list(pd.read_csv(layout.results / "diagnostics.csv")) == ["seed", "method", "task", "name", "value"]
    assert len(pd.read_csv(layout.results / "analysis/growth.csv")) == 6
    assert len(pd.read_csv(layout.results / "analysis/costs.csv")) == 1
