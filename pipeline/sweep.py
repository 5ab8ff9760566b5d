"""Gather what was measured of every variant of one method, and of the method as it is set.

python -m pipeline.sweep --method piggyback
"""

import argparse

import pandas as pd

from palimpsest import stage
from palimpsest.layout import Layout
from palimpsest.settings import Settings
from palimpsest.storage.atomic import write_text
from palimpsest.sweeps import Variants, flat, sweeps_of


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write what was measured, variant (empty for the method as it is set), seed, method, task, after, metric,
    value, and what makes the variants: variant, setting, set_to.
    """
    variants = sweeps_of(*stage.handed(options.config))[options.method]
    measurements = [
        measured(settings, options.method, name, seed) for name in ("", *variants) for seed in settings.seeds
    ]
    write_text(layout.sweep(options.method), pd.concat(measurements).to_csv(index=False))
    write_text(layout.varied(options.method), set_to(settings, variants).to_csv(index=False))


def measured(settings: Settings, method: str, variant: str, seed: int) -> pd.DataFrame:
    """Each task after each later one, single classes right after learning alone.

    As metrics of each task that is added stand beside them `bytes`, what it adds to all that is needed to run, and
    of masks `zeros`, their share.
    """
    folder = Layout(settings.preset, variant).evaluation(seed, method)
    metrics = pd.read_csv(folder / "metrics.csv")
    rows = [metrics[(metrics["task"] == metrics["after"]) | ~metrics["metric"].str.startswith("iou/")]]
    if (folder / "zeros.csv").stat().st_size > 1:
        zeros = pd.read_csv(folder / "zeros.csv")
        whole = zeros[zeros["layer"] == "all"].rename(columns={"zeros": "value"})
        rows.append(whole.assign(metric="zeros", after=whole["task"]))
    growth = pd.read_csv(folder / "growth.csv")
    run = growth[growth["needed_to"] == "run"]
    rows.append(run.assign(metric="bytes", after=run["task"], value=run["bytes"].diff()).dropna())
    return pd.concat(rows).assign(variant=variant, seed=seed, method=method)[COLUMNS]


COLUMNS = ["variant", "seed", "method", "task", "after", "metric", "value"]


def set_to(settings: Settings, variants: Variants) -> pd.DataFrame:
    """What each variant sets, and under an empty name what the same settings are without any."""
    changes: dict[str, dict[str, object]] = {name: flat(variant) for name, variant in variants.items()}
    paths = dict.fromkeys(path for change in changes.values() for path in change)
    usual = flat(settings.model_dump(mode="json", by_alias=True))
    rows = [("", path, usual.get(path, "")) for path in paths] + [
        (name, path, value) for name, change in changes.items() for path, value in change.items()
    ]
    return pd.DataFrame(rows, columns=["variant", "setting", "set_to"])


if __name__ == "__main__":
    stage.run(main, __doc__, "method")
