"""`palimpsest adopt` after `dvc checkout`, for every type of DVC's cache."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palimpsest.adoption import FOLDER_DATE, MARK
from tests.pipeline.conftest import Study

pytestmark = pytest.mark.slow

MASK = "models/mini/seed-0/piggyback/style-munch.safetensors"
RECORD = "models/mini/seed-0/piggyback/style-munch.predictions.json"


@pytest.fixture(scope="module", params=["copy", "symlink", pytest.param("hardlink", marks=pytest.mark.proof)])
def checked_out(request: pytest.FixtureRequest, finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return the finished study with outputs of `dvc checkout` and without Snakemake's records."""
    folder = tmp_path_factory.mktemp(request.param) / "project"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns(".snakemake", "mlflow.db", "mlruns"))
    study = Study(folder)
    study.run("dvc", "init", "--quiet")
    study.run("dvc", "config", "core.analytics", "false")
    study.run("dvc", "config", "cache.type", request.param)
    study.run("dvc", "commit", "--force", "--quiet")
    study.commit("study")
    for name in ("data", "models", "results"):
        shutil.rmtree(folder / name)
    study.run("git", "checkout", "--quiet", ".")
    study.run("dvc", "checkout", "--quiet")
    mask = folder / MASK
    assert (mask.is_symlink(), mask.stat().st_nlink > 1) == (
        request.param == "symlink",
        request.param == "hardlink",
    )
    return study


def outputs(study: Study) -> dict[str, str]:
    """Return the SHA-256 of every file below the folders of outputs, including Snakemake's dates of folders."""
    paths = [path for name in ("data", "models", "results") for path in (study.folder / name).rglob("*")]
    return {str(path.relative_to(study.folder)): sha256(path) for path in paths if path.is_file()}


def cache(study: Study) -> dict[str, str]:
    return {path.name: sha256(path) for path in (study.folder / ".dvc/cache").rglob("*") if path.is_file()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def without_dates(files: dict[str, str]) -> dict[str, str]:
    return {path: content for path, content in files.items() if not path.endswith(FOLDER_DATE)}


def test_checked_out_files_are_adopted_after_a_kill_and_runs_leave_the_cache_alone(checked_out: Study) -> None:
    before, cached = without_dates(outputs(checked_out)), cache(checked_out)
    kill_while_adopting(checked_out)
    assert without_dates(outputs(checked_out)) == before
    refused = checked_out.snakemake("-n", "all", check=False)
    assert "error: .snakemake/adopting: `palimpsest adopt` was interrupted; run it again" in refused

    printed = checked_out.run("palimpsest", "adopt").stdout
    assert "outputs are recorded as made" in printed and "missing" not in printed
    assert without_dates(outputs(checked_out)) == before and cache(checked_out) == cached
    assert "Nothing to be done" in checked_out.snakemake("-n", "all")
    assert "up to date" in checked_out.run("dvc", "status").stdout
    assert checked_out.run("git", "status", "--porcelain").stdout == ""
    planned = checked_out.planned("--config", "tasks={style-munch: {style_weight: 9}}")
    assert {path for path in planned if path.endswith(".safetensors")} >= {MASK}

    checked_out.snakemake(MASK, "--config", "tasks={style-munch: {style_weight: 9}}")
    after = without_dates(outputs(checked_out))
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed == {MASK, RECORD} and after.keys() == before.keys()
    assert cache(checked_out) == cached


def kill_while_adopting(study: Study) -> None:
    """Kill `palimpsest adopt` and its Snakemake with SIGKILL after the first record."""
    command = [sys.executable, "-m", "palimpsest.cli", "adopt"]
    adopting = subprocess.Popen(command, cwd=study.folder, env=study.environment(), start_new_session=True)
    while adopting.poll() is None and not list((study.folder / ".snakemake").glob("incomplete/*")):
        time.sleep(0.01)
    assert adopting.poll() is None
    os.killpg(adopting.pid, signal.SIGKILL)
    adopting.wait()
    assert (study.folder / MARK).exists()


def test_a_missing_output_is_named_and_the_others_are_adopted(checked_out: Study) -> None:
    mask = checked_out.folder / MASK
    kept = mask.with_name("elsewhere")
    mask.rename(kept)
    try:
        printed = checked_out.run("palimpsest", "adopt").stdout
    finally:
        kept.rename(mask)
    command = f"snakemake --cores all {MASK} --config preset=mini"
    assert f"{MASK} is missing; `{command}` makes it" in printed.splitlines()
