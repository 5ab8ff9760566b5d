"""`kill -9` at any moment, then the same command: all files are those of an undisturbed run, bit for bit."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pipeline.conftest import Study, copied, digests, fewer

pytestmark = pytest.mark.slow

VICTIMS = ("a job", "snakemake", "everything")
SHORTEST, LONGEST = 1.0, 12.0
"""Seconds from the start of a run to its end by a kill: while Snakemake starts, and while anything is made."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two methods × two tasks, run to the end; what it made is kept in the folder `made`."""
    study = copied(tmp_path_factory.mktemp("kills") / "project")
    fewer(study, steps=40)
    study.snakemake("all")
    return study


def start(study: Study) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [Path(sys.executable).parent / "snakemake", "--cores", "2", "all"],
        cwd=study.folder,
        env=study.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def stages(study: Study) -> list[psutil.Process]:
    """Processes of the pipeline's stages in the study's folder, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(study.folder) and "pipeline." in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def kill(study: Study, run: "subprocess.Popen[str]", victim: str, choice: random.Random) -> None:
    """End by signal 9 what is to be ended; a run whose job was killed ends by itself."""
    parent = psutil.Process(run.pid)
    tree = parent.children(recursive=True)
    if victim == "a job":
        jobs = stages(study)
        tree = [choice.choice(jobs)] if jobs else []
    elif victim == "everything":
        tree.append(parent)
    else:
        tree = [parent]
    for process in tree:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def forget(study: Study) -> None:
    """Delete all that was made, as before the first run."""
    study.run("rm", "-rf", "data", "models", "results", "logs", ".snakemake", "mlruns", "mlflow.db")


def disturbed(study: Study, kills: int, seed: int) -> list[str]:
    """Kill runs until so many kills are done, begin again whenever one came to its end, and finish the last."""
    choice = random.Random(seed)
    expected, undisturbed = digests(study.folder), dict(curves(study))
    assert expected and undisturbed
    told = []
    forget(study)
    while len(told) < kills:
        run = start(study)
        wait = choice.uniform(SHORTEST, LONGEST)
        victim = choice.choice(VICTIMS)
        try:
            output, _ = run.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            kill(study, run, victim, choice)
            run.communicate()
            told.append(f"{victim} after {wait:.1f} s")
            continue
        assert run.returncode == 0, output
        assert digests(study.folder) == expected, told
        forget(study)
    study.snakemake("all")
    assert digests(study.folder) == expected, told
    disturbed = curves(study)
    assert {name for name, _ in disturbed} == set(undisturbed)
    for name, curve in disturbed:
        assert curve == undisturbed[name], told
    return told


def curves(study: Study) -> list[tuple[str, dict[str, list[tuple[int, float]]]]]:
    """Of each run, none of which may be left unfinished: the training's name, and the points of its losses."""
    client, runs = study.tracked()
    assert {run.info.status for run in runs} == {"FINISHED"}
    found = []
    for run in runs:
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        points = {name: sorted((point.step, point.value) for point in history[name]) for name in history}
        losses = {name: points[name] for name in points if name == "loss" or name.endswith("_loss")}
        assert losses
        found.append((run.info.run_name, losses))
    return found


def wait_for_the_end_of(study: Study) -> None:
    """Orphans look for their parent once a second."""
    for _ in range(100):
        if not stages(study):
            return
        time.sleep(0.1)
    pytest.fail(f"still running: {stages(study)}")


def test_a_few_kills_change_nothing(undisturbed: Study) -> None:
    disturbed(undisturbed, kills=4, seed=1)
    wait_for_the_end_of(undisturbed)


@pytest.mark.proof
def test_thirty_kills_change_nothing(undisturbed: Study) -> None:
    told = disturbed(undisturbed, kills=30, seed=2)
    assert {one.split(" after")[0] for one in told} == set(VICTIMS)


def test_jobs_end_when_their_snakemake_is_killed(undisturbed: Study) -> None:
    forget(undisturbed)
    run = start(undisturbed)
    while not stages(undisturbed):
        time.sleep(0.05)
    run.kill()
    run.communicate()
    wait_for_the_end_of(undisturbed)
    assert "Nothing to be done" not in undisturbed.snakemake("all")


def test_ctrl_c_ends_everything_within_seconds(undisturbed: Study) -> None:
    forget(undisturbed)
    run = start(undisturbed)
    while not list(undisturbed.folder.glob("models/**/*.resume")):
        time.sleep(0.05)
        assert run.poll() is None
    psutil.Process(run.pid).send_signal(signal.SIGINT)
    for job in psutil.Process(run.pid).children(recursive=True):  # a terminal sends it to all
        job.send_signal(signal.SIGINT)
    run.communicate(timeout=20)
    assert stages(undisturbed) == []
    _, runs = undisturbed.tracked()
    assert runs and {found.info.status for found in runs} <= {"KILLED", "FINISHED"}


def test_a_second_run_in_the_same_folder_stops_at_the_lock_with_a_hint(undisturbed: Study) -> None:
    forget(undisturbed)
    run = start(undisturbed)
    while not list(undisturbed.folder.glob(".snakemake/locks/*.lock")):
        time.sleep(0.05)
    second = undisturbed.run("snakemake", "--cores", "2", "all", check=False)
    assert second.returncode == 1
    assert "cannot be locked" in second.stdout + second.stderr
    output, _ = run.communicate()
    assert run.returncode == 0, output
