"""Tables of the preset from those of single methods."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from palimpsest.layout import Layout
from palimpsest.params import resolve
from palimpsest.report.page import Origin, render
from pipeline.collect import gather


def test_a_run_without_masks_has_tables_of_masks_without_rows_and_a_report(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = resolve(content, {"methods": ["scratch"]})
    layout = Layout(settings.preset)
    folder = layout.evaluation(0, "scratch")
    folder.mkdir(parents=True)
    row = {"task": "shapes", "after": "shapes", "metric": "miou", "value": 50.0, "images": 2, "checksum": "ab"}
    pd.DataFrame([row]).to_csv(folder / "metrics.csv", index=False)
    for name in ("zeros", "similarity"):
        (folder / f"{name}.csv").write_text("\n")  # as evaluate writes a table without rows
    (layout.results / "analysis").mkdir()
    gather(settings, layout, "metrics").to_csv(layout.results / "metrics.csv", index=False)
    for name in ("zeros", "similarity"):
        table = gather(settings, layout, name)
        assert table.empty and {"seed", "method", "task"} < set(table.columns)
        table.to_csv(layout.results / "analysis" / f"{name}.csv", index=False)
    page = render(layout.results, Path("data"), [("shapes", "segmentation")], ["scratch"], Origin("tiny"))
    assert "No method of this run stores masks" in page
