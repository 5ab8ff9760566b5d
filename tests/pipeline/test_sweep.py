"""`snakemake sweep`: evaluation of variants of the settings and of the methods without a variant."""

import json
from pathlib import Path

import pandas as pd
import pytest

from palimpsest.data.arrays import Prepared
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
    """Return two methods × two tasks after a sweep of two variants; the first has a different base network."""
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
    for _, variant_rows in rows.groupby("variant"):
        assert set(variant_rows.task) == {"coco-seg", "colorize"}
    for name in ("zeros", "bytes"):
        added = rows[rows.metric == name]
        assert set(added.task) == {"colorize"} and (added.value > 0).all()
    folder = swept.folder / "results/mini.sweep/current/evaluation/seed-0/piggyback"
    then = pd.read_csv(folder / "metrics.csv").query("metric == 'ssim'")
    unvaried = rows[(rows.variant == "") & (rows.metric == "ssim")]
    assert list(then.value) == list(unvaried.value)


def test_a_sweep_measures_dev_and_never_the_validation_split(swept: Study) -> None:
    for variant in ("current", *VARIANTS):
        metrics = pd.read_csv(
            swept.folder / f"results/mini.sweep/{variant}/evaluation/seed-0/piggyback/metrics.csv"
        )
        for task, rows in metrics.groupby("task"):
            prepared = Prepared.open(swept.folder / f"data/mini/prepared/{task}")
            assert set(rows.images) == {len(prepared.rows("dev"))} != {len(prepared.rows("val"))}
    assert not (swept.folder / "results/mini/evaluation").exists()
    for record in (swept.folder / SWEEP).rglob("*.predictions.json"):
        assert json.loads(record.read_text())["split"] == "dev"


def test_a_sweep_lists_the_settings_of_its_variants(swept: Study) -> None:
    rows = pd.read_csv(swept.folder / "results/mini/sweep/piggyback-settings.csv", keep_default_na=False)
    usual = {"base.standardised": "False", "method_settings.piggyback.score_beta1": "0.5"}
    assert set(rows.itertuples(index=False, name=None)) == {
        *(("", setting, value) for setting, value in usual.items()),
        ("standardised", "base.standardised", "True"),
        ("momentum", "method_settings.piggyback.score_beta1", "0.9"),
    }


def test_the_report_shows_an_existing_sweep(swept: Study) -> None:
    swept.snakemake("all")
    page = swept.folder / "results/mini/report.html"
    assert "method_settings.piggyback.score_beta1 = 0.9" in page.read_text("utf-8")
    assert "Nothing to be done" in swept.snakemake("all")
    tables = swept.folder / "results/mini/sweep"
    tables.rename(tables.with_name("away"))
    printed = swept.snakemake("-n", "all")
    tables.with_name("away").rename(tables)
    assert "rule report" in printed
    assert "rule compare" not in printed


def test_a_variant_has_a_separate_base_network_only_if_its_settings_affect_it(swept: Study) -> None:
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
    printed = swept.snakemake(f"{SWEEP}/momentum/seed-0/base/coco-seg.safetensors", check=False)
    assert "--variant momentum: the variant uses the preset's base network" in printed
    assert base.read_bytes() == before


def test_an_impossible_variant_stops_its_sweep_alone(swept: Study) -> None:
    threshold = "method_settings={piggyback: {threshold: 0.009}}"
    wrong = "sweeps={mini: {piggyback: {low: {method_settings: {piggyback: {initial_score: 0.001}}}}}}"
    printed = swept.snakemake("-n", "sweep", "--config", threshold, wrong, check=False)
    assert "sweeps: low: method_settings.piggyback: initial_score (0.001) is not above threshold (0.009)" in printed
    assert "Traceback" not in printed
    assert "train" in swept.snakemake("-n", "all", "--config", threshold, wrong)


def test_files_of_a_sweep_name_their_trainings(swept: Study) -> None:
    table = swept.run("palimpsest", "inspect", "results/mini/sweep/piggyback.csv").stdout
    stored = {
        *(f"{SWEEP}/{path}" for path in swept_paths(swept)),
        "models/mini/seed-0/piggyback/colorize.safetensors",
    }
    assert all(f"{path}:" in table for path in stored)
    for name in VARIANTS:
        results = Path(f"results/mini.sweep/{name}/evaluation/seed-0/piggyback/metrics.csv")
        report = swept.run("palimpsest", "inspect", str(results)).stdout
        assert f"{SWEEP}/{name}/seed-0/piggyback/colorize.safetensors:" in report
        assert ("models/mini/seed-0/base/coco-seg.safetensors:" in report) == (name == "momentum")
        assert "mlflow_run: not recorded" not in report
