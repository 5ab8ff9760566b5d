"""The whole study on a SLURM cluster of one node, with trainings that are cancelled and requeued in the middle."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline import slurm
from tests.pipeline.conftest import OF_TRAININGS, Study, copied, digests, fewer
from tests.pipeline.test_kills import curves

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm.missing()), reason=f"SLURM is not installed: {', '.join(slurm.missing())}"),
]

STEPS = 240
"""Steps of each training, in epochs of four: enough for a checkpoint long before the end."""
EPOCH = 4
SECONDS = 300
"""Timeout of everything."""
BASE = "models/mini/seed-0/base/coco-seg.safetensors"
SECOND = "models/mini/seed-0/{}/colorize.safetensors"
TRAININGS = ("base-coco-seg", "fine-tune-colorize", "piggyback-colorize")
PROFILE = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")


@dataclass(frozen=True)
class OnCluster(Study):
    """Study whose jobs run on a cluster."""

    cluster: slurm.Cluster

    def environment(self) -> dict[str, str]:
        python, variables = str(Path(sys.executable).parent), self.cluster.environment()
        return {**super().environment(), **variables, "PATH": os.pathsep.join([python, variables["PATH"]])}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start Snakemake with the profile of the cluster."""
        return subprocess.Popen(
            ["snakemake", *PROFILE, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Cluster]:
    # munged refuses a socket in a folder that others cannot reach, as that of a private TMPDIR
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder, slurm.running(Path(folder)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a study of two methods × two tasks with the data of the first task."""
    study = copied(tmp_path_factory.mktemp("slurm") / "prepared")
    fewer(study, steps=STEPS)
    params = study.params()
    params["presets"]["mini"]["base"]["steps"] = STEPS
    study.write_params(params)
    study.snakemake("data/mini/prepared/coco-seg/info.json")
    return study


def copy_of(study: Study, name: str) -> Path:
    """Return a copy of the folder, with the same commit."""
    folder = study.folder.with_name(name)
    shutil.copytree(study.folder, folder)
    return folder


def wait_for(condition: Callable[[], Any], run: "subprocess.Popen[str] | None" = None) -> Any:
    """Return the first true value of the condition; fail if the run ends before, or the time is over."""
    latest = time.monotonic() + SECONDS
    while not (value := condition()):
        assert run is None or run.poll() is None, run.communicate()[0]
        assert time.monotonic() < latest
        time.sleep(0.05)
    return value


def statuses(study: Study) -> dict[str, str]:
    """Return the status of each training's MLflow run by its name."""
    with closing(sqlite3.connect(study.folder / "mlflow.db")) as database:
        return dict(database.execute(f"SELECT name, status FROM runs WHERE {OF_TRAININGS}"))


def recorded_step(study: Study) -> int:
    """Return the last step in the loss curves of all MLflow runs."""
    with closing(sqlite3.connect(study.folder / "mlflow.db")) as database:
        return int(database.execute("SELECT MAX(step) FROM metrics WHERE key = 'loss'").fetchone()[0] or 0)


def resumed_at(study: Study, training: str) -> int:
    """Return the step at which the last attempt of a training resumed, or 0; check that it did only the rest.

    Snakemake deletes the logs of earlier attempts.
    """
    log = (study.folder / f"logs/mini/train-0-{training}.log").read_text()
    resumed = max((int(step) for step in re.findall(r"resumed at step (\d+)", log)), default=0)
    assert [int(step) for step in re.findall(r" step (\d+)/", log)] == [*range(resumed + EPOCH, STEPS + 1, EPOCH)]
    assert log.count(" learned: ") == 1
    return resumed


def test_a_cancelled_training_is_submitted_again_and_resumes(prepared: Study, cluster: slurm.Cluster) -> None:
    alone = Study(copy_of(prepared, "alone"))
    alone.snakemake(BASE)
    study = OnCluster(copy_of(prepared, "cluster"), cluster)
    run = study.start(BASE)
    wait_for((study.folder / BASE).with_suffix(".resume").exists, run)
    (number,) = cluster.jobs().values()
    asked = cluster.command("scontrol", "show", "job", number)
    cluster.command("scancel", number)
    wait_for(lambda: statuses(study) == {"base · coco-seg · seed 0": "KILLED"}, run)
    recorded = recorded_step(study)
    output, _ = run.communicate(timeout=SECONDS)
    assert run.returncode == 0, output
    assert "Trying to restart job" in output
    assert statuses(study) == {"base · coco-seg · seed 0": "FINISHED"}
    resumed = resumed_at(study, "base-coco-seg")
    assert 0 < resumed < STEPS
    assert abs(resumed - recorded) <= EPOCH  # the signal may come between the checkpoint and the record of an epoch
    assert (study.folder / BASE).read_bytes() == (alone.folder / BASE).read_bytes()
    for value in ("TimeLimit=04:00:00", "MinMemoryNode=4000M", "NumCPUs=1", "gpu:1", "Requeue=1"):
        assert value in asked


@pytest.mark.proof  # minutes: the plugin looks at the queue at growing intervals, eight times one after the other
def test_a_study_survives_kill_ctrl_c_and_requeue(prepared: Study, cluster: slurm.Cluster) -> None:
    alone = Study(copy_of(prepared, "all-alone"))
    alone.snakemake("all")
    study = OnCluster(copy_of(prepared, "all-on-cluster"), cluster)
    run = study.start("all")
    wait_for((study.folder / BASE).with_suffix(".resume").exists, run)
    run.kill()
    run.communicate()
    numbers = sorted(cluster.jobs().values())
    refused = study.start("all")
    output, _ = refused.communicate(timeout=SECONDS)
    assert refused.returncode == 1
    assert (
        re.search(r"error: squeue: jobs of an earlier run .* run `scancel ([\d ]+)`", output)[1].split() == numbers
    )
    cluster.command("scancel", *numbers)
    run = study.start("all")
    wait_for(lambda: training_with_checkpoint(study, cluster, 0), run)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=SECONDS)
    wait_for(lambda: not cluster.jobs())
    started = time.time()
    run = study.start("all")
    requeued = wait_for(lambda: training_with_checkpoint(study, cluster, started), run)
    cluster.command("scontrol", "requeue", cluster.jobs()[requeued])
    output, _ = run.communicate(timeout=3 * SECONDS)
    assert run.returncode == 0, output
    assert "Trying to restart job" not in output  # SLURM has started it again
    assert digests(study.folder) == digests(alone.folder)
    expected = dict(curves(alone))
    assert sorted(curves(study)) == sorted(expected.items())
    resumed = {name: resumed_at(study, name) for name in TRAININGS}
    assert resumed["base-coco-seg"] > 0
    assert resumed[f"{requeued.split('_')[-2]}-colorize"] > 0
    assert "Nothing to be done" in study.run("snakemake", *PROFILE, "all").stderr


def training_with_checkpoint(study: OnCluster, cluster: slurm.Cluster, since: float) -> str | None:
    """Return the comment of a job that trains the second task and has written a checkpoint ``since`` this time."""
    for comment in cluster.jobs():
        method = comment.removesuffix("_colorize").rpartition("_")[2]
        checkpoint = (study.folder / SECOND.format(method)).with_suffix(".resume")
        if comment.endswith("_colorize") and checkpoint.exists() and checkpoint.stat().st_mtime > since:
            return comment
    return None
