"""Collect the measurements of all variants of one method and of the method with its current settings.

python -m pipeline.sweep --method piggyback
"""

import argparse

import pandas as pd

from palimpsest import stage
from palimpsest.layout import Layout
from palimpsest.params import dotted
from palimpsest.settings import Settings
from palimpsest.storage.atomic import write_text
from palimpsest.sweeps import Variants, sweeps_of


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the measurements (`COLUMNS`) and the settings of the variants (variant, setting, set_to).

    The variant is empty for the method with its current settings.
    """
    variants = sweeps_of(*stage.passed_settings(options.config))[options.method]
    measurements = [
        measured(settings, options.method, name, seed) for name in ("", *variants) for seed in settings.seeds
    ]
    write_text(layout.sweep(options.method), pd.concat(measurements).to_csv(index=False))
    write_text(layout.varied(options.method), set_to(settings, variants).to_csv(index=False))


def measured(settings: Settings, method: str, variant: str, seed: int) -> pd.DataFrame:
    """Return the metrics of each task after each later one; single classes only right after training.

    Two more metrics describe each added task: `bytes`, its addition to the inference state, and for masks `zeros`,
    the share of zeros.
    """
    folder = Layout(settings.preset, variant).evaluation(seed, method)
    metrics = pd.read_csv(folder / "metrics.csv")
    rows = [metrics[(metrics["task"] == metrics["after"]) | ~metrics["metric"].str.startswith("iou/")]]
    if (folder / "zeros.csv").stat().st_size > 1:
        zeros = pd.read_csv(folder / "zeros.csv")
        totals = zeros[zeros["layer"] == "all"].rename(columns={"zeros": "value"})
        rows.append(totals.assign(metric="zeros", after=totals["task"]))
    growth = pd.read_csv(folder / "growth.csv")
    run = growth[growth["needed_to"] == "run"]
    rows.append(run.assign(metric="bytes", after=run["task"], value=run["bytes"].diff()).dropna())
    return pd.concat(rows).assign(variant=variant, seed=seed, method=method)[COLUMNS]


COLUMNS = ["variant", "seed", "method", "task", "after", "metric", "value"]
"""Columns of the measurements."""


def set_to(settings: Settings, variants: Variants) -> pd.DataFrame:
    """Return the settings that each variant changes, and with an empty variant their current values."""
    changes: dict[str, dict[str, object]] = {name: dotted(variant) for name, variant in variants.items()}
    paths = dict.fromkeys(path for change in changes.values() for path in change)
    current = dotted(settings.model_dump(mode="json", by_alias=True))
    rows = [("", path, current.get(path, "")) for path in paths] + [
        (name, path, value) for name, change in changes.items() for path, value in change.items()
    ]
    return pd.DataFrame(rows, columns=["variant", "setting", "set_to"])


if __name__ == "__main__":
    stage.run(main, __doc__, "method")
