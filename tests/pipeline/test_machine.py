"""Studies on unusual machines: folders of any name, no home directory, two runs at the same time."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from palimpsest.storage.task_file import load_task
from tests.pipeline.conftest import OF_TRAININGS, Study, copied

pytestmark = pytest.mark.slow

BASE = "models/{}/seed-0/base/coco-seg.safetensors"
UNWRITABLE = "/dev/null/nowhere"
"""Folder that no user can make."""


class Homeless(Study):
    """Study whose user can write to no other folder."""

    def environment(self) -> dict[str, str]:
        places = ("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        return {**super().environment(), **dict.fromkeys(places, UNWRITABLE), "GIT_CONFIG_GLOBAL": os.devnull}


def runs(study: Study) -> list[tuple[str, str]]:
    """Return experiment and status of every training's MLflow run in the folder."""
    with closing(sqlite3.connect(study.folder / "mlflow.db")) as database:
        asked = "SELECT name, status FROM (SELECT name, experiment_id FROM experiments) NATURAL JOIN"
        return sorted(database.execute(f"{asked} (SELECT experiment_id, status FROM runs WHERE {OF_TRAININGS})"))


def test_a_study_needs_no_home_and_writes_only_to_its_folder_of_any_name(tmp_path: Path) -> None:
    study = Homeless(copied(tmp_path / "around" / "what? #1 100% é").folder)
    printed = study.snakemake(BASE.format("mini"))
    assert "Traceback" not in printed and "no commit" not in printed
    assert runs(study) == [("palimpsest-mini", "FINISHED")]
    assert study.run("palimpsest", "inspect", BASE.format("mini")).stdout.startswith("---\nfile: models/")
    assert {path.name for path in study.folder.parent.iterdir()} == {study.folder.name, "imports"}


def test_two_presets_run_side_by_side_in_one_folder(tmp_path: Path) -> None:
    study = copied(tmp_path / "project")
    params = study.params()
    params["presets"]["twin"] = params["presets"]["mini"]
    study.write_params(params)
    command = ["snakemake", "--cores", "1"]
    started = {
        preset: subprocess.Popen(
            [*command, BASE.format(preset), "--config", f"preset={preset}"],
            cwd=study.folder,
            env=study.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for preset in ("mini", "twin")
    }
    printed = {preset: process.communicate()[0] for preset, process in started.items()}
    assert {preset: process.returncode for preset, process in started.items()} == {"mini": 0, "twin": 0}, printed
    assert runs(study) == [("palimpsest-mini", "FINISHED"), ("palimpsest-twin", "FINISHED")]
    assert not list((study.folder / ".snakemake" / "locks").glob("*"))
    tasks = [load_task(study.folder / BASE.format(preset)) for preset in ("mini", "twin")]
    assert [task.provenance.preset for task in tasks] == ["mini", "twin"]
    assert tasks[0].sha256 == tasks[1].sha256
    for preset in ("mini", "twin"):
        assert "Nothing to be done" in study.snakemake("-n", BASE.format(preset), "--config", f"preset={preset}")
