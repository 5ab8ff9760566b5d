"""Collect the measurements of all methods of one ablation, and list the settings that it changes.

python -m pipeline.ablation --variant steps-100
"""

import argparse

import pandas as pd

from palimpsest import stage
from palimpsest.analysis.tables import columns_of_ablation
from palimpsest.jobs import training_steps
from palimpsest.layout import Layout
from palimpsest.settings import FLOOR, Settings
from palimpsest.storage.atomic import write_text
from palimpsest.variants import ablations_of, changed_settings


def main(settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
    """Write the table of metrics (`columns_of_ablation`), and that of the settings: setting, set_to, in_preset."""
    content, overrides = stage.passed_settings(options.config)
    methods = ablations_of(content, overrides)[options.variant].methods
    tables = []
    for seed in settings.seeds:
        for method in (FLOOR, *methods):
            table = pd.read_csv(layout.evaluation(seed, method) / "metrics.csv", dtype={"checksum": str})
            trained = () if method == FLOOR else settings.sequence
            steps = {task: training_steps(settings, seed, method, task) for task in trained}
            table["steps"] = [steps.get(task, 0) for task in table["task"]]
            tables.append(table.assign(seed=seed, method=method)[columns_of_ablation()])
    preset = Layout(settings.preset)
    write_text(preset.ablation(options.variant), pd.concat(tables).to_csv(index=False))
    changed = changed_settings(content, overrides, options.variant)
    rows = pd.DataFrame(changed, columns=["setting", "set_to", "in_preset"])
    write_text(preset.ablation_settings(options.variant), rows.to_csv(index=False))


if __name__ == "__main__":
    stage.run(main, __doc__)
