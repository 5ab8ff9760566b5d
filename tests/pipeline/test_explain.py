"""`python -m pipeline.explain` on a small study, and the jobs of `snakemake explain`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from palimpsest.explaining import COLUMNS, EXPERIMENTS, MASKED, experiments_of, names
from palimpsest.methods import BASE
from palimpsest.settings import FLOOR, REFERENCE
from palimpsest.storage.atomic import write_text
from pipeline import explain, explained
from tests.conftest import Study
from tests.pipeline.conftest import Study as Project
from tests.pipeline.conftest import write_arrays


@pytest.fixture
def stored(new_study: Callable[..., Study]) -> Study:
    """Return a study with masks that were not trained."""
    study = new_study(methods=[REFERENCE, MASKED])
    study.store_untrained(BASE, "shapes")
    for task in ("halves", "colour"):
        study.store_untrained(MASKED, task)
    write_arrays(study.layout.prepared("halves"), study.prepared["halves"])
    return study


def write_scale(study: Study, floor: float, reference: float) -> None:
    """Write measurements of the trivial baseline and of `scratch` on the task `halves`."""
    for method, value in ((FLOOR, floor), (REFERENCE, reference)):
        path = study.layout.evaluation(0, method) / "metrics.csv"
        row = {"task": "halves", "after": "halves", "metric": "miou", "value": value, "checksum": ""}
        write_text(path, pd.DataFrame([row]).to_csv(index=False))


def run(study: Study, experiment: str) -> Path:
    """Run an experiment on the task `halves`; return its table."""
    options = argparse.Namespace(seed=0, experiment=experiment, task="halves")
    explain.main(study.settings, study.layout, options)
    return study.layout.experiment(0, experiment, "halves")


@pytest.mark.slow
def test_an_experiment_writes_metrics_quality_and_origin(stored: Study) -> None:
    write_scale(stored, 10.0, 60.0)
    path = run(stored, "exchanged")
    table = pd.read_csv(path)
    assert [*table] == COLUMNS and {*table["condition"]} == {names.NO_MASK, "halves", "colour"}
    figures = table[table["condition"] == "halves"].set_index("metric")["value"]
    assert figures["quality"] == pytest.approx((figures["miou"] - 10) / 50)
    origin = json.loads(path.with_suffix(".json").read_text())
    assert set(origin["trained_in"]) == {MASKED} and origin["libraries"]["torch"]
    origin = json.loads(run(stored, "parts").with_suffix(".json").read_text())
    assert set(origin["trained_on"]) == {MASKED, "parts"}  # it trains on this machine


@pytest.mark.slow
@pytest.mark.parametrize("reference", [10.0, 9.0])
def test_a_task_without_scale_has_no_quality(stored: Study, reference: float) -> None:
    write_scale(stored, 10.0, reference)
    assert "quality" not in set(pd.read_csv(run(stored, "exchanged"))["metric"])


def test_experiments_without_results_leave_the_types_of_the_columns(
    stored: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"halves": [("flipped", 0, "halves", "stored", 0.5, "quality", 0.9)], "colour": []}
    for name, task in experiments_of(stored.settings.sequence):
        path = stored.layout.experiment(0, name, task)
        content = rows.get(task, []) if name == "flipped" else []
        write_text(path, pd.DataFrame(content, columns=COLUMNS).to_csv(index=False))
    pages: list[pd.DataFrame] = []
    monkeypatch.setattr(explained, "collect_conditions", lambda *given: {})
    monkeypatch.setattr(explained, "write_page", lambda results, *given: pages.append(results))
    explained.main(stored.settings, stored.layout, argparse.Namespace())
    (results,) = pages
    assert len(results) == 1 and results["value"].dtype == results["x"].dtype == float


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
        name = job.wildcards["experiment"]
        module = EXPERIMENTS[name].path.split(":")[0].replace(".", "/")
        assert {"pipeline/explain.py", f"src/{module}.py"} <= {*job.code}
        classifies = {"src/palimpsest/tasks/classification.py", "src/palimpsest/networks/encoder.py"}
        assert (classifies <= {*job.code}) == (name == "kinds") and not any("report/" in path for path in job.code)
        assert "data/mini/prepared/coco-seg/info.json" in job.input
    (page,) = (job for job in jobs if job.rule == "explain")
    assert {path for job in experiments for path in job.output if path.endswith(".csv")} <= {*page.input}
