"""`snakemake sweep`: variants of the settings, measured beside the methods as they are set."""

from pathlib import Path

import pandas as pd
import pytest

from palimpsest.storage.task_file import load_task
from tests.pipeline.conftest import Study, copied, fewer

pytestmark = pytest.mark.slow

VARIANTS = {
    "standardised": {"base": {"standardised": True}},
    "momentum": {"method_settings": {"piggyback": {"score_beta1": 0.9}}},
}
SWEEP = "models/mini.sweep"


def swept_paths(study: Study) -> set[str]:
    folder = study.folder / SWEEP
    return {str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two methods × two tasks after a sweep of two variants, of which the first makes another base network."""
    study = copied(tmp_path_factory.mktemp("sweep") / "project")
    fewer(study, steps=4)
    params = study.params()
    params["sweeps"] = {"mini": {"piggyback": VARIANTS}}
    study.write_params(params)
    study.snakemake("sweep")
    return study


def test_a_sweep_measures_every_task_of_its_variants_and_of_the_method(swept: Study) -> None:
    rows = pd.read_csv(swept.folder / "results/mini/sweep/piggyback.csv").fillna({"variant": ""})
    assert set(rows.variant) == {"", *VARIANTS}
    assert set(rows.method) == {"piggyback"}
    for _, found in rows.groupby("variant"):
        assert set(found.task) == {"coco-seg", "colorize"}
    for name in ("zeros", "bytes"):
        added = rows[rows.metric == name]
        assert set(added.task) == {"colorize"} and (added.value > 0).all()
    folder = swept.folder / "results/mini/evaluation/seed-0/piggyback"
    then = pd.read_csv(folder / "metrics.csv").query("metric == 'ssim'")
    own = rows[(rows.variant == "") & (rows.metric == "ssim")]
    assert list(then.value) == list(own.value)


def test_a_sweep_tells_what_its_variants_set(swept: Study) -> None:
    rows = pd.read_csv(swept.folder / "results/mini/sweep/piggyback-settings.csv", keep_default_na=False)
    usual = {"base.standardised": "False", "method_settings.piggyback.score_beta1": "0.5"}
    assert set(rows.itertuples(index=False, name=None)) == {
        *(("", setting, value) for setting, value in usual.items()),
        ("standardised", "base.standardised", "True"),
        ("momentum", "method_settings.piggyback.score_beta1", "0.9"),
    }


def test_the_report_shows_a_sweep_once_it_is_there(swept: Study) -> None:
    swept.snakemake("all")
    page = swept.folder / "results/mini/report.html"
    assert "method_settings.piggyback.score_beta1 = 0.9" in page.read_text("utf-8")
    assert "Nothing to be done" in swept.snakemake("all")
    tables = swept.folder / "results/mini/sweep"
    tables.rename(tables.with_name("away"))
    told = swept.snakemake("-n", "all")
    tables.with_name("away").rename(tables)
    assert "rule report" in told
    assert "rule compare" not in told


def test_a_variant_has_a_base_network_of_its_own_only_where_what_it_changes_makes_another(swept: Study) -> None:
    assert swept_paths(swept) == {
        "momentum/seed-0/piggyback/colorize.safetensors",
        "standardised/seed-0/base/coco-seg.safetensors",
        "standardised/seed-0/piggyback/colorize.safetensors",
    }
    bases = {
        "momentum": load_task(swept.folder / "models/mini/seed-0/base/coco-seg.safetensors"),
        "standardised": load_task(swept.folder / SWEEP / "standardised/seed-0/base/coco-seg.safetensors"),
    }
    for name, base in bases.items():
        mask = load_task(swept.folder / SWEEP / name / "seed-0/piggyback/colorize.safetensors")
        assert mask.provenance.network_sha256 == base.sha256
        assert mask.provenance.preset == f"mini.sweep/{name}"


def test_a_second_sweep_has_nothing_to_do(swept: Study) -> None:
    assert "Nothing to be done" in swept.snakemake("sweep")


def test_no_variant_trains_the_base_network_of_the_study(swept: Study) -> None:
    base = swept.folder / "models/mini/seed-0/base/coco-seg.safetensors"
    before = base.read_bytes()
    told = swept.snakemake(f"{SWEEP}/momentum/seed-0/base/coco-seg.safetensors", check=False)
    assert "--variant momentum: the variant uses the preset's base network" in told
    assert base.read_bytes() == before


def test_an_impossible_variant_stops_its_sweep_and_nothing_else(swept: Study) -> None:
    threshold = "method_settings={piggyback: {threshold: 0.009}}"
    wrong = "sweeps={mini: {piggyback: {low: {method_settings: {piggyback: {initial_score: 0.001}}}}}}"
    told = swept.snakemake("-n", "sweep", "--config", threshold, wrong, check=False)
    assert "error: sweeps: low: method_settings.piggyback: initial_score is not above threshold" in told
    assert "Traceback" not in told
    assert "train" in swept.snakemake("-n", "all", "--config", threshold, wrong)


def test_files_of_a_sweep_lead_back_to_the_trainings(swept: Study) -> None:
    table = swept.run("palimpsest", "inspect", "results/mini/sweep/piggyback.csv").stdout
    stored = {
        *(f"{SWEEP}/{path}" for path in swept_paths(swept)),
        "models/mini/seed-0/piggyback/colorize.safetensors",
    }
    assert all(f"{path}:" in table for path in stored)
    for name in VARIANTS:
        results = Path(f"results/mini.sweep/{name}/evaluation/seed-0/piggyback/metrics.csv")
        own = swept.run("palimpsest", "inspect", str(results)).stdout
        assert f"{SWEEP}/{name}/seed-0/piggyback/colorize.safetensors:" in own
        assert ("models/mini/seed-0/base/coco-seg.safetensors:" in own) == (name == "momentum")
        assert "mlflow_run: not recorded" not in own
