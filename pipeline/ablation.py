"""Collect the measurements of the methods of one ablation, and list the settings that it changes.

python -m pipeline.ablation --variant steps-100
"""

import argparse
import math

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.tables import columns_of_ablation
from palimpsest.jobs import training_steps
from palimpsest.layout import Layout
from palimpsest.params import resolve
from palimpsest.settings import FLOOR, REFERENCE, Settings
from palimpsest.storage.atomic import write_text
from palimpsest.variants import ablations_of, changed_settings, takes_reference


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the table of metrics (`columns_of_ablation`), and that of the settings: setting, set_to, in_preset.

    The table includes the `scratch` of the preset, if the changes do not affect it.
    """
    content, overrides = stage.passed_settings(options.config)
    methods = ablations_of(content, overrides)[options.variant].methods
    preset = Layout(settings.preset)
    layouts = dict.fromkeys((FLOOR, *methods), layout)
    if takes_reference(resolve(content, overrides), settings, methods):
        layouts[REFERENCE] = preset
    tables = [
        measured(settings, of_method, seed, method)
        for seed in settings.seeds
        for method, of_method in layouts.items()
    ]
    write_text(preset.ablation(options.variant), pd.concat(tables).to_csv(index=False))
    changed = changed_settings(content, overrides, options.variant)
    rows = pd.DataFrame(changed, columns=["setting", "set_to", "in_preset"])
    write_text(preset.ablation_settings(options.variant), rows.to_csv(index=False))


def measured(settings: Settings, layout: Layout, seed: int, method: str) -> pd.DataFrame:
    """Return the rows of a method and seed, on the tasks of the settings; the baseline has no steps and bytes."""
    folder = layout.evaluation(seed, method)
    table = pd.read_csv(folder / "metrics.csv", dtype={"checksum": str})
    steps: dict[str, int] = {}
    size: dict[str, float] = {}
    if method != FLOOR:
        steps = {task: training_steps(settings, seed, method, task) for task in settings.sequence}
        growth = pd.read_csv(folder / "growth.csv")
        run = growth[growth["needed_to"] == "run"]
        size = dict(zip(run["task"], run["bytes"], strict=True))
    table["steps"] = [steps.get(task, 0) for task in table["task"]]
    table["bytes"] = [size.get(task, math.nan) for task in table["task"]]
    chosen = table["task"].isin(settings.sequence) & table["after"].isin(settings.sequence)
    return table[chosen].assign(seed=seed, method=method)[columns_of_ablation()]


if __name__ == "__main__":
    stage.run(main, __doc__)
