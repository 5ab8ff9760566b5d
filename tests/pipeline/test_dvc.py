"""DVC over the same rules: what `snakemake all` made is what `dvc repro` would make."""

import shutil

import pytest

from tests.pipeline.conftest import Study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def versioned(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The finished study as a repository of git and DVC, with everything committed."""
    folder = tmp_path_factory.mktemp("versioned") / "project"
    shutil.copytree(finished.folder, folder)
    study = Study(folder)
    study.run("dvc", "init", "--quiet")
    study.run("dvc", "config", "core.analytics", "false")
    study.snakemake("all")  # a copy has other inodes and dates of access, and nothing else to do
    study.run("dvc", "commit", "--force", "--quiet")
    study.commit("study")
    return study


def test_after_a_commit_nothing_is_made_again(versioned: Study) -> None:
    for package in ("pipeline", "src/palimpsest"):  # what running Python leaves lying is no change of the code
        (versioned.folder / package / "__pycache__").mkdir(exist_ok=True)
        (versioned.folder / package / "__pycache__" / "left.pyc").write_bytes(b"bytecode")
    told = versioned.run("dvc", "repro").stdout
    assert told.count("didn't change, skipping") == 3
    assert "Running stage" not in told


def test_metrics_are_shown_in_the_studys_words(versioned: Study) -> None:
    told = versioned.run("dvc", "metrics", "show", "--md").stdout
    assert "piggyback.task 2 voc-seg.miou" in told


def test_a_changed_setting_reruns_what_snakemake_lists_and_no_more(versioned: Study) -> None:
    params = versioned.params()
    params["presets"]["mini"]["tasks"]["style-munch"]["style_weight"] = 7.0
    versioned.write_params(params)
    planned = {path for path in versioned.planned() if path.endswith(".safetensors")}
    before = {path: path.stat().st_mtime_ns for path in (versioned.folder / "models").rglob("*.safetensors")}
    told = versioned.run("dvc", "repro").stdout
    after = {path: path.stat().st_mtime_ns for path in before}
    rerun = {str(path.relative_to(versioned.folder)) for path in before if before[path] != after[path]}
    assert rerun == planned
    assert len(rerun) == 4
    assert "Stage 'models'" in told or "Running stage 'models'" in told
    assert "style-munch" in versioned.run("dvc", "params", "diff").stdout
    assert "style-munch" in versioned.run("dvc", "metrics", "diff").stdout
