"""Gather what was measured of every variant of the sweeps, and of every method as it is set.

python -m pipeline.sweep
"""

import argparse
from collections.abc import Iterator, Mapping

import pandas as pd

from palimpsest import job
from palimpsest.layout import Layout
from palimpsest.settings import Settings
from palimpsest.storage.atomic import write_text
from palimpsest.sweeps import Variants, sweeps_of


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write `sweep.csv`: variant (empty for a method as it is set), seed, method, task, metric, value."""
    sweeps = sweeps_of(*job.handed(options.config))
    table = pd.concat(measured(settings, sweeps), ignore_index=True)
    write_text(layout.results / "sweep.csv", table.to_csv(index=False))


def measured(settings: Settings, sweeps: Mapping[str, Variants]) -> Iterator[pd.DataFrame]:
    """Each task right after it was learned, and of masks the share of zeros as a metric `zeros`."""
    variants = [("", method) for method in settings.methods]
    variants += [(name, method) for method, sweep in sweeps.items() for name in sweep]
    for variant, method in variants:
        for seed in settings.seeds:
            folder = Layout(settings.preset, variant).evaluation(seed, method)
            metrics = pd.read_csv(folder / "metrics.csv")
            rows = [metrics[metrics["task"] == metrics["after"]][["task", "metric", "value"]]]
            if (folder / "zeros.csv").stat().st_size > 1:
                zeros = pd.read_csv(folder / "zeros.csv")
                whole = zeros[zeros["layer"] == "all"].rename(columns={"zeros": "value"})
                rows.append(whole.assign(metric="zeros")[["task", "metric", "value"]])
            yield pd.concat(rows).assign(variant=variant, seed=seed, method=method)[COLUMNS]


COLUMNS = ["variant", "seed", "method", "task", "metric", "value"]


if __name__ == "__main__":
    job.run(main, __doc__)
