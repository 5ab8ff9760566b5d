"""Collect the measurements on `dev` of all variants of one method and of the method with its current settings.

python -m pipeline.sweep --method piggyback
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.transfer import quality_figures, quality_table
from palimpsest.layout import CURRENT, Layout
from palimpsest.params import dotted
from palimpsest.report.sweep import QUALITY
from palimpsest.settings import FLOOR, REFERENCE, Settings
from palimpsest.storage.atomic import write_text
from palimpsest.variants import Variants, sweeps_of


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write two tables: metrics and quality of the variants (`COLUMNS`), and the settings that they change.

    In both, an empty variant means the method with its current settings.
    """
    method, variants = options.method, sweeps_of(*stage.passed_settings(options.config))[options.method]
    measurements = [measured(settings, method, name, seed) for name in ("", *variants) for seed in settings.seeds]
    measurements.append(qualities(settings, method, ("", *variants)))
    write_text(layout.sweep(method), pd.concat(measurements).to_csv(index=False))
    write_text(layout.varied(options.method), set_to(settings, variants).to_csv(index=False))


def measured(settings: Settings, method: str, variant: str, seed: int) -> pd.DataFrame:
    """Return the metrics on ``dev`` of one variant and seed, columns `COLUMNS`; an empty variant means the preset.

    Each task is measured after its own and each later training; the IoU of single classes only after its own. Two
    more metrics describe each added task: `bytes`, its addition to the files that inference needs, and for masks
    `zeros`, the share of zeros.
    """
    folder, metrics = folder_of(settings, method, variant, seed), metrics_of(settings, method, variant, seed)
    rows = [metrics[(metrics["task"] == metrics["after"]) | ~metrics["metric"].str.startswith("iou/")]]
    if (folder / "zeros.csv").stat().st_size > 1:
        zeros = pd.read_csv(folder / "zeros.csv")
        totals = zeros[zeros["layer"] == "all"].rename(columns={"zeros": "value"})
        rows.append(totals.assign(metric="zeros", after=totals["task"]))
    growth = pd.read_csv(folder / "growth.csv")
    run = growth[growth["needed_to"] == "run"]
    rows.append(run.assign(metric="bytes", after=run["task"], value=run["bytes"].diff()).dropna())
    return pd.concat(rows).assign(variant=variant, seed=seed, method=method)[COLUMNS]


def qualities(settings: Settings, method: str, variants: Sequence[str]) -> pd.DataFrame:
    """Return the final quality of each variant and seed on ``dev``, columns `COLUMNS`, as the metric `quality`.

    It is the mean over the tasks that all variants trained, after the last of them, relative to `scratch` with its
    current settings. The rows name the last of these tasks.
    """
    metrics = {
        (variant, seed): metrics_of(settings, method, variant, seed).assign(method=variant or CURRENT, seed=seed)
        for variant in variants
        for seed in settings.seeds
    }
    trained = [set(table["after"]) for table in metrics.values()]
    tasks = [task for task in settings.sequence if all(task in names for names in trained)]
    sequence = [(task, settings.tasks[task].kind) for task in tasks]
    rows = []
    for seed in settings.seeds:
        compared = [
            metrics_of(settings, name, "", seed).assign(method=name, seed=seed) for name in (FLOOR, REFERENCE)
        ]
        for variant in variants:
            quality = quality_table(pd.concat([*compared, metrics[variant, seed]]), sequence)
            value = quality_figures(quality, sequence)[variant or CURRENT][seed]["final_quality"]
            rows.append((variant, seed, method, tasks[-1], tasks[-1], QUALITY, value))
    return pd.DataFrame(rows, columns=COLUMNS).dropna()  # no quality if `scratch` learned nothing


def folder_of(settings: Settings, method: str, variant: str, seed: int) -> Path:
    """Return the folder with the measurements of a variant on ``dev``; an empty variant means the preset."""
    return Layout(settings.preset, variant or CURRENT).evaluation(seed, method)


def metrics_of(settings: Settings, method: str, variant: str, seed: int) -> pd.DataFrame:
    """Return the table `metrics.csv` of a variant on ``dev``; an empty variant means the preset."""
    return pd.read_csv(folder_of(settings, method, variant, seed) / "metrics.csv", dtype={"checksum": str})


COLUMNS = ["variant", "seed", "method", "task", "after", "metric", "value"]
"""Columns of the table of metrics."""


def set_to(settings: Settings, variants: Variants) -> pd.DataFrame:
    """Return a table (variant, setting, set_to) of the settings that each variant changes.

    Rows with an empty variant have the current values of these settings.
    """
    changes: dict[str, dict[str, object]] = {name: dotted(variant) for name, variant in variants.items()}
    paths = dict.fromkeys(path for change in changes.values() for path in change)
    current = dotted(settings.model_dump(mode="json", by_alias=True))
    rows = [("", path, current.get(path, "")) for path in paths] + [
        (name, path, value) for name, change in changes.items() for path, value in change.items()
    ]
    return pd.DataFrame(rows, columns=["variant", "setting", "set_to"])


if __name__ == "__main__":
    stage.run(main, __doc__, "method")
