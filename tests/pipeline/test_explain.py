"""`python -m pipeline.explain` on a small study, and the jobs of `snakemake explain`."""

import argparse
import json
from collections.abc import Callable

import pandas as pd
import pytest

from palimpsest.explaining import MASKED, experiments_of
from palimpsest.methods import BASE
from palimpsest.report.explained import COLUMNS
from palimpsest.settings import FLOOR, REFERENCE
from palimpsest.storage.atomic import write_text
from pipeline import explain
from tests.conftest import Study
from tests.pipeline.conftest import Study as Project
from tests.pipeline.conftest import write_arrays


@pytest.mark.slow
def test_an_experiment_writes_metrics_quality_and_origin(new_study: Callable[..., Study]) -> None:
    study = new_study(methods=[REFERENCE, MASKED])
    study.store_untrained(BASE, "shapes")
    study.store_untrained(MASKED, "halves")
    study.store_untrained(MASKED, "colour")
    write_arrays(study.layout.prepared("halves"), study.prepared["halves"])
    for method, value in ((FLOOR, 10.0), (REFERENCE, 60.0)):
        path = study.layout.evaluation(0, method) / "metrics.csv"
        row = {"task": "halves", "after": "halves", "metric": "miou", "value": value, "checksum": ""}
        write_text(path, pd.DataFrame([row]).to_csv(index=False))
    options = argparse.Namespace(seed=0, experiment="exchanged", task="halves")
    explain.main(study.settings, study.layout, options)
    path = study.layout.experiment(0, "exchanged", "halves")
    table = pd.read_csv(path)
    assert [*table] == COLUMNS and {*table["condition"]} == {"shapes", "halves", "colour"}
    figures = table[table["condition"] == "halves"].set_index("metric")["value"]
    assert figures["quality"] == pytest.approx((figures["miou"] - 10) / 50)
    origin = json.loads(path.with_suffix(".json").read_text())
    assert set(origin["trained_in"]) == {"halves"} and origin["libraries"]["torch"]


def test_experiments_depend_on_masks_and_separate_networks(unmade: Project) -> None:
    jobs, default = unmade.graphs(("explain", {"preset": "mini"}), ("all", {"preset": "mini"}))
    experiments = [job for job in jobs if job.rule == "experiment"]
    sequence = ["coco-seg", "voc-seg", "colorize", "style-gogh", "style-munch"]
    asked = {(job.wildcards["experiment"], job.wildcards["task"]) for job in experiments}
    assert asked == {*experiments_of(sequence)} and len(asked) == len(experiments)
    assert not any("explain" in path for job in default for path in job.output)
    models = "models/mini/seed-0"
    for job in experiments:
        assert {f"{models}/{MASKED}/colorize.safetensors", f"{models}/{REFERENCE}/colorize.safetensors"} <= {
            *job.input
        }
        assert {"pipeline/explain.py", "src/palimpsest/explaining/bits.py"} <= {*job.code}
    (page,) = (job for job in jobs if job.rule == "explain")
    assert {path for job in experiments for path in job.output if path.endswith(".csv")} <= {*page.input}
