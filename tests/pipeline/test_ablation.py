"""`snakemake ablations`: several methods under changed settings, reported on the validation split."""

import pandas as pd
import pytest

from palimpsest.data.arrays import Prepared
from tests.pipeline.conftest import Study, copied, fewer

pytestmark = pytest.mark.slow

METHODS = ["fine-tune", "piggyback"]
ABLATIONS = {
    "scores": {"methods": ["piggyback"], "changes": {"method_settings": {"piggyback": {"threshold": 1e-3}}}},
    "short": {"methods": METHODS, "changes": {"training": {"steps": 2}}},
    "once": {"methods": METHODS, "changes": {"sequence": ["coco-seg", "colorize"]}},
}


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return three methods × two tasks after three ablations; the last changes no training."""
    study = copied(tmp_path_factory.mktemp("ablation") / "project")
    fewer(study, steps=4)
    params = study.params()
    params["ablations"] = {"mini": ABLATIONS}
    params["defaults"]["methods"] = [*METHODS, "scratch"]
    study.write_params(params)
    study.snakemake("all")
    study.snakemake("ablations")
    return study


def test_an_ablation_measures_its_methods_and_the_baseline_on_the_validation_split(ablated: Study) -> None:
    for name in ABLATIONS:
        table = pd.read_csv(ablated.folder / f"results/mini/ablation/{name}.csv")
        reference = set() if name == "short" else {"scratch"}  # which the others do not affect
        methods = {"floor", *ABLATIONS[name]["methods"]}
        assert set(table.method) == methods | reference and set(table.task) == {"coco-seg", "colorize"}
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


def test_bytes_and_the_reference_are_those_of_the_preset(ablated: Study) -> None:
    results = ablated.folder / "results/mini"
    scores = pd.read_csv(results / "ablation/scores.csv")
    metrics, growth = (pd.read_csv(results / path) for path in ("metrics.csv", "analysis/growth.csv"))
    values = [list(table.query("method == 'scratch'")["value"]) for table in (scores, metrics)]
    assert values[0] == values[1]
    for method in ("scratch", "piggyback"):
        run = growth.query(f"method == '{method}' and needed_to == 'run'").set_index("task")["bytes"]
        of_method = scores[scores["method"] == method].drop_duplicates("task").set_index("task")["bytes"]
        assert of_method.to_dict() == pytest.approx(run.to_dict(), rel=0.01)  # metadata differ by a few bytes
    assert scores[scores["method"] == "floor"]["bytes"].isna().all()


def test_the_report_shows_ablations_and_a_second_run_has_nothing_to_do(ablated: Study) -> None:
    ablated.snakemake("all")
    page = (ablated.folder / "results/mini/report.html").read_text("utf-8")
    assert 'id="ablations"' in page and "training.steps = 2 (preset: 4)" in page
    assert "Nothing to be done" in ablated.snakemake("ablations", "all")


def test_a_table_names_its_trainings(ablated: Study) -> None:
    for name, folder in (("short", "mini.sweep/short"), ("once", "mini")):
        report = ablated.run("palimpsest", "inspect", f"results/mini/ablation/{name}.csv").stdout
        assert f"models/{folder}/seed-0/piggyback/colorize.safetensors:" in report
