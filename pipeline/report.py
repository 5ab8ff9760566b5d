"""Write the report page with all measurements.

python -m pipeline.report
"""

import argparse
import json
import shlex
from collections.abc import Mapping
from typing import Any

from palimpsest import stage
from palimpsest.layout import Layout
from palimpsest.provenance import code_version
from palimpsest.report.page import Origin, write_page
from palimpsest.report.tradeoff import incomparable_methods
from palimpsest.settings import Settings
from palimpsest.tracking.reports import record_report
from palimpsest.variants import sweep_tables


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the page `report.html` into the preset's folder of results; record it and the bundle with MLflow."""
    page = layout.results / "report.html"
    write_page(
        page,
        results=layout.results,
        data=layout.prepared(settings.base_task).parents[1],
        sequence=[(name, settings.tasks[name].kind) for name in settings.sequence],
        methods=settings.methods,
        origin=Origin(settings.preset, code_version(), settings.digest(), command_of(settings, options.config)),
        sweeps=sweep_tables(layout.results),
        incomparable=incomparable_methods(settings),
    )
    record_report(layout, page)


def command_of(settings: Settings, overrides: Mapping[str, Any]) -> str:
    """Return the command that makes the results again, with all settings of the command line."""
    _, overridden = stage.passed_settings(overrides)
    values = {"preset": settings.preset, **overridden}
    config = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    return shlex.join(["snakemake", "--cores", "all", "all", "--config", *config])


if __name__ == "__main__":
    stage.run(main, __doc__)
