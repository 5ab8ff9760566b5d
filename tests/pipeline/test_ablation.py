"""`snakemake ablations`: several methods under changed settings, reported on the validation split."""

import pandas as pd
import pytest

from palimpsest.data.arrays import Prepared
from tests.pipeline.conftest import Study, copied, fewer

pytestmark = pytest.mark.slow

METHODS = ["fine-tune", "piggyback"]
ABLATIONS = {
    "short": {"methods": METHODS, "changes": {"training": {"steps": 2}}},
    "once": {"methods": METHODS, "changes": {"sequence": ["coco-seg", "colorize"]}},
}


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return two methods × two tasks after two ablations; the second changes no training."""
    study = copied(tmp_path_factory.mktemp("ablation") / "project")
    fewer(study, steps=4)
    params = study.params()
    params["ablations"] = {"mini": ABLATIONS}
    study.write_params(params)
    study.snakemake("all")
    study.snakemake("ablations")
    return study


def test_an_ablation_measures_its_methods_and_the_baseline_on_the_validation_split(ablated: Study) -> None:
    for name in ABLATIONS:
        table = pd.read_csv(ablated.folder / f"results/mini/ablation/{name}.csv")
        assert set(table.method) == {"floor", *METHODS} and set(table.task) == {"coco-seg", "colorize"}
        for task, rows in table.groupby("task"):
            prepared = Prepared.open(ablated.folder / f"data/mini/prepared/{task}")
            assert set(rows.images) == {len(prepared.rows("val"))} != {len(prepared.rows("dev"))}
    settings = pd.read_csv(ablated.folder / "results/mini/ablation/short-settings.csv", dtype=str)
    assert settings.to_dict("records") == [{"setting": "training.steps", "set_to": "2", "in_preset": "4"}]


def test_only_changed_trainings_are_repeated(ablated: Study) -> None:
    trained = {path.parent.name for path in (ablated.folder / "models/mini.sweep/short").rglob("*.safetensors")}
    assert trained == set(METHODS)  # the base network has steps of its own
    assert not (ablated.folder / "models/mini.sweep/once").exists()
    main = pd.read_csv(ablated.folder / "results/mini/metrics.csv").query("method == 'piggyback'")
    once = pd.read_csv(ablated.folder / "results/mini/ablation/once.csv").query("method == 'piggyback'")
    assert list(once.checksum) == list(main.checksum)


def test_the_report_shows_ablations_and_a_second_run_has_nothing_to_do(ablated: Study) -> None:
    ablated.snakemake("all")
    page = (ablated.folder / "results/mini/report.html").read_text("utf-8")
    assert 'id="ablations"' in page and "training.steps = 2 (preset: 4)" in page
    assert "Nothing to be done" in ablated.snakemake("ablations", "all")


def test_a_table_names_its_trainings(ablated: Study) -> None:
    for name, folder in (("short", "mini.sweep/short"), ("once", "mini")):
        report = ablated.run("palimpsest", "inspect", f"results/mini/ablation/{name}.csv").stdout
        assert f"models/{folder}/seed-0/piggyback/colorize.safetensors:" in report
