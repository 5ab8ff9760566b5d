"""Runs of reports: the page, its tables, and the bundle as a model."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from palimpsest.layout import Layout
from palimpsest.provenance import digest
from palimpsest.tracking.model import save_model
from palimpsest.tracking.runs import ALL, NAME, NOTE, tracked_run
from palimpsest.tracking.service import open_store


def report_tags(scope: str) -> dict[str, str]:
    """Return the tags of the run of a report."""
    return {
        "preset": scope,
        "seed": ALL,
        "method": ALL,
        "task": ALL,
        "rule": "report",
        NAME: f"report · {scope}",
        NOTE: "Tables of all methods, the report page, and the bundle as a model.",
    }


def record_report(layout: Layout, page: Path) -> None:
    """Record a report as a run: the mean metrics of all methods, the page and tables, and the bundle as a model.

    The model is registered under the name of the preset.
    """
    tables = [layout.results / name for name in ("summary.json", "metrics.csv", "sizes.csv", "forgetting.csv")]
    with (
        open_store() as store,
        TemporaryDirectory() as folder,
        tracked_run(store, report_tags(layout.scope), digest("", [page]), {}) as run,
    ):
        run.metrics(summary_values(json.loads(tables[0].read_text(encoding="utf-8"))))
        for path in (page, *tables):
            run.file(path)
        save_model(layout.bundle, Path(folder) / "model")
        store.log_model(run.run_id, Path(folder) / "model", layout.preset)


def summary_values(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the means in `summary.json` as metrics ``final/<method>/<task>/<metric>``."""
    return {
        f"final/{method}/{row.split()[-1]}/{name}": float(value)
        for method, rows in summary.items()
        for row, values in rows.items()
        if isinstance(values, Mapping)
        for name, value in values.items()
        if isinstance(value, int | float) and not name.endswith(("_std", "_se", "_best"))
    }
