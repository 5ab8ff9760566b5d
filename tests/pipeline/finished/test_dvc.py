"""DVC stages over the rules: outputs of `snakemake all` are up to date for `dvc repro`."""

import json
import shutil

import pytest
import yaml

from palimpsest.inspection import MISSING, NO_DATABASE
from tests.pipeline.conftest import ROOT, Study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def versioned(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return the finished study as a repository of git and DVC with all files committed."""
    folder = tmp_path_factory.mktemp("versioned") / "project"
    shutil.copytree(finished.folder, folder)
    study = Study(folder)
    study.run("dvc", "init", "--quiet")
    study.run("dvc", "config", "core.analytics", "false")
    study.snakemake("all")  # a copy has other inodes and access times; no job has to run
    study.run("dvc", "commit", "--force", "--quiet")
    study.commit("study")
    return study


def test_after_a_commit_nothing_is_rerun(versioned: Study) -> None:
    for package in ("pipeline", "src/palimpsest"):  # bytecode is no change of the code
        (versioned.folder / package / "__pycache__").mkdir(exist_ok=True)
        (versioned.folder / package / "__pycache__" / "left.pyc").write_bytes(b"bytecode")
    printed = versioned.run("dvc", "repro").stdout
    assert printed.count("didn't change, skipping") == 3
    assert "Running stage" not in printed


def test_dvc_ignores_unfinished_files(versioned: Study) -> None:
    unfinished = [
        "models/mini/seed-0/piggyback/voc-seg.resume",
        "data/real/raw/.val2017.zip.part",
        "data/mini/prepared/colorize.partial/picture.npy",
        "results/mini/evaluation/seed-0/floor/samples/.snakemake_timestamp",
    ]
    ignored = versioned.run("dvc", "check-ignore", *unfinished, "models/mini/seed-0/piggyback/voc-seg.safetensors")
    assert ignored.stdout.splitlines() == unfinished


def test_dvc_shows_metrics_with_the_names_of_the_study(versioned: Study) -> None:
    printed = versioned.run("dvc", "metrics", "show", "--md").stdout
    assert "piggyback.task 2 voc-seg.miou" in printed


ADOPT = "palimpsest adopt"


@pytest.fixture(scope="module")
def cloned(versioned: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a fresh clone with pulled files, made with the documented commands."""
    folder = tmp_path_factory.mktemp("cloned")
    versioned.run("dvc", "remote", "add", "--default", "local", str(folder / "remote"))
    versioned.commit("a remote")
    versioned.run("dvc", "push", "--quiet")
    versioned.run("git", "clone", "--quiet", ".", str(folder / "project"))
    clone = Study(folder / "project")
    clone.run("dvc", "pull", "--quiet")
    assert f"\n{ADOPT} " in (ROOT / "docs/pipeline.md").read_text("utf-8")
    clone.run(*ADOPT.split())
    return clone


def test_a_clone_is_complete_and_up_to_date(versioned: Study, cloned: Study) -> None:
    printed = cloned.snakemake("-n", "all")
    assert "Nothing to be done" in printed
    assert "missing provenance" not in printed
    assert "up to date" in cloned.run("dvc", "status").stdout
    assert cloned.run("git", "status", "--porcelain").stdout == ""
    kinds = ("data/**/*.npy", "models/**/*.*", "results/**/*.*")
    made = [path.relative_to(versioned.folder) for kind in kinds for path in versioned.folder.glob(kind)]
    for path in filter(lambda path: (versioned.folder / path).is_file(), made):
        assert (cloned.folder / path).read_bytes() == (versioned.folder / path).read_bytes(), path
    assert (cloned.folder / "results/mini/report.html").read_text("utf-8").startswith("<!doctype html>")


def test_in_a_clone_a_change_reruns_its_dependents(cloned: Study) -> None:
    planned = cloned.planned("--config", "tasks={style-munch: {style_weight: 9}}")
    assert {path for path in planned if not path.startswith("results/")} == {
        f"models/mini/seed-0/{method}/style-munch{suffix}"
        for method in cloned.params()["defaults"]["methods"]
        for suffix in (".safetensors", ".predictions.json")
    }
    planned = cloned.planned("--config", "pictures={size: 48}")
    assert {f"data/mini/prepared/{task}/info.json" for task in cloned.params()["defaults"]["sequence"]} <= planned


def test_in_a_clone_files_have_their_provenance_except_the_run(cloned: Study) -> None:
    mask, table = "models/mini/seed-0/piggyback/voc-seg.safetensors", "results/mini/summary.json"
    stored, results = yaml.load_all(cloned.run("palimpsest", "inspect", mask, table).stdout, yaml.CSafeLoader)
    made_at = cloned.run("git", "log", "--format=%H", "--reverse").stdout.split()[0]
    assert (stored["commit"], stored["mlflow_run"]) == (made_at, NO_DATABASE)
    assert stored["data_sha256"] != MISSING and stored["settings"]["method"] == "piggyback"
    assert results["measures"][mask] | {"file": mask} == stored
    assert {made_with["commit"] for made_with in results["measured_with"].values()} == {made_at}
    assert not (cloned.folder / "mlflow.db").exists()


def test_a_changed_setting_reruns_the_jobs_that_snakemake_lists(versioned: Study) -> None:
    params = versioned.params()
    params["presets"]["mini"]["tasks"]["style-munch"]["style_weight"] = 7.0
    versioned.write_params(params)
    planned = {path for path in versioned.planned() if path.startswith("models/") and path.endswith(".safetensors")}
    before = {path: path.stat().st_mtime_ns for path in (versioned.folder / "models").rglob("*.safetensors")}
    printed = versioned.run("dvc", "repro").stdout
    after = {path: path.stat().st_mtime_ns for path in before}
    rerun = {str(path.relative_to(versioned.folder)) for path in before if before[path] != after[path]}
    assert rerun == planned
    assert len(rerun) == len(params["defaults"]["methods"])
    assert "Stage 'models'" in printed or "Running stage 'models'" in printed
    versioned.commit("Munch in other strokes")
    between = ("HEAD~1", "HEAD", "--json")
    (changed,) = json.loads(versioned.run("dvc", "params", "diff", *between).stdout).values()
    assert changed == {"presets.mini.tasks.style-munch.style_weight": {"old": None, "new": 7.0}}
    (metrics,) = json.loads(versioned.run("dvc", "metrics", "diff", *between).stdout).values()
    assert {f"{method}.task 5 style-munch.total_loss" for method in ("floor", "piggyback")} <= set(metrics)
    assert "fine-tune.forgetting.style-gogh after style-munch.total_loss" in metrics
    sizes = ("size_mib", "bytes")  # of masks, whose code depends on what was learned
    assert all("style-munch" in name or name.partition(".")[2] in sizes for name in metrics), metrics
