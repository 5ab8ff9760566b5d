"""`snakemake sweep`: variants of the settings, measured beside the methods as they are set."""

import shutil

import pandas as pd
import pytest

from palimpsest.storage.task_file import load_task
from tests.pipeline.conftest import Study

pytestmark = pytest.mark.slow

MODELS = "models/mini.sweep/standardised/seed-0"


@pytest.fixture(scope="module")
def swept(finished: Study) -> Study:
    """A finished study after a sweep of one variant, whose base network is another."""
    study = Study(finished.folder.with_name("swept"))
    shutil.copytree(finished.folder, study.folder, symlinks=True)
    params = study.params()
    params["defaults"]["sweeps"] = {"piggyback": {"standardised": {"base": {"standardised": True}}}}
    study.write_params(params)
    study.snakemake("sweep")
    return study


def test_a_sweep_measures_every_task_of_its_variants_and_of_the_methods(swept: Study) -> None:
    rows = pd.read_csv(swept.folder / "results/mini/sweep.csv").fillna({"variant": ""})
    assert set(rows[rows.variant == ""].method) == {"scratch", "fine-tune", "decoder", "piggyback"}
    tasks = {"coco-seg", "voc-seg", "colorize", "style-gogh", "style-munch"}
    for name, found in rows[rows.method == "piggyback"].groupby("variant"):
        assert set(found.task) == tasks, name
        assert set(found[found.metric == "zeros"].task) == tasks - {"coco-seg"}, name
    metrics = pd.read_csv(swept.folder / "results/mini/metrics.csv")
    then = metrics[(metrics.method == "piggyback") & (metrics.task == metrics.after) & (metrics.metric == "miou")]
    own = rows[(rows.method == "piggyback") & (rows.variant == "") & (rows.metric == "miou")]
    assert list(then.value) == list(own.value)


def test_a_variant_stands_on_its_own_base_network_and_touches_nothing_of_the_study(
    swept: Study, finished: Study
) -> None:
    base = load_task(swept.folder / MODELS / "base/coco-seg.safetensors")
    mask = load_task(swept.folder / MODELS / "piggyback/colorize.safetensors")
    assert mask.provenance.network_sha256 == base.sha256
    assert mask.provenance.preset == "mini.sweep/standardised"
    for path in (finished.folder / "models/mini").rglob("*.safetensors"):
        assert (swept.folder / path.relative_to(finished.folder)).read_bytes() == path.read_bytes()
    assert swept.planned() == set()


def test_a_second_sweep_has_nothing_to_do(swept: Study) -> None:
    assert "Nothing to be done" in swept.snakemake("sweep")


def test_files_of_a_sweep_lead_back_to_the_trainings(swept: Study) -> None:
    table = swept.run("palimpsest", "inspect", "results/mini/sweep.csv").stdout
    assert f"{MODELS}/piggyback/colorize.safetensors" in table and f"{MODELS}/base/coco-seg.safetensors" in table
    assert "models/mini/seed-0/decoder/colorize.safetensors" in table
    folder = "results/mini.sweep/standardised/evaluation/seed-0/piggyback"
    own = swept.run("palimpsest", "inspect", f"{folder}/metrics.csv").stdout
    assert f"{MODELS}/piggyback/colorize.safetensors" in own and "models/mini/seed-0" not in own
    assert "not recorded" not in own.replace("commit: not recorded", "")  # git knows nothing of this folder
