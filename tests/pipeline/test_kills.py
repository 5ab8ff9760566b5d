"""After `kill -9` at any moment, the same command makes the files of an undisturbed run, bit for bit."""

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
"""Seconds from the start of a run to the kill: from Snakemake's start to the last jobs."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a finished study of two methods × two tasks; the folder `made` keeps its outputs."""
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
    """Return the processes of stages in the study's folder, also those whose parent has ended."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(study.folder) and "pipeline." in " ".join(process.cmdline()):
                processes.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return processes


def kill(study: Study, run: "subprocess.Popen[str]", victim: str, choice: random.Random) -> None:
    """Kill the victim with signal 9; a run whose job was killed ends by itself."""
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
    """Delete all outputs."""
    study.run("rm", "-rf", "data", "models", "results", "logs", ".snakemake", "mlruns", "mlflow.db")


def disturbed(study: Study, kills: int, seed: int) -> list[str]:
    """Kill runs until this number of kills, delete the outputs after each complete run, and finish the last."""
    choice = random.Random(seed)
    expected, undisturbed = digests(study.folder), dict(curves(study))
    assert expected and undisturbed
    log = []
    forget(study)
    while len(log) < kills:
        run = start(study)
        wait = choice.uniform(SHORTEST, LONGEST)
        victim = choice.choice(VICTIMS)
        try:
            output, _ = run.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            kill(study, run, victim, choice)
            run.communicate()
            log.append(f"{victim} after {wait:.1f} s")
            continue
        assert run.returncode == 0, output
        assert digests(study.folder) == expected, log
        forget(study)
    study.snakemake("all")
    assert digests(study.folder) == expected, log
    disturbed = curves(study)
    assert {name for name, _ in disturbed} == set(undisturbed)
    for name, curve in disturbed:
        assert curve == undisturbed[name], log
    return log


def curves(study: Study) -> list[tuple[str, dict[str, list[tuple[int, float]]]]]:
    """Return name and loss curves of each run; check that all runs are finished."""
    client, runs = study.tracked()
    assert {run.info.status for run in runs} == {"FINISHED"}
    named_curves = []
    for run in runs:
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        points = {name: sorted((point.step, point.value) for point in history[name]) for name in history}
        losses = {name: points[name] for name in points if name == "loss" or name.endswith("_loss")}
        assert losses
        named_curves.append((run.info.run_name, losses))
    return named_curves


def wait_for_the_end_of(study: Study) -> None:
    """Wait until no process of a stage is left; orphans look for their parent once a second."""
    for _ in range(100):
        if not stages(study):
            return
        time.sleep(0.1)
    pytest.fail(f"still running: {stages(study)}")


def test_a_few_kills_change_nothing(undisturbed: Study) -> None:
    disturbed(undisturbed, kills=2, seed=1)
    wait_for_the_end_of(undisturbed)


@pytest.mark.proof
def test_thirty_kills_change_nothing(undisturbed: Study) -> None:
    log = disturbed(undisturbed, kills=30, seed=2)
    assert {line.split(" after")[0] for line in log} == set(VICTIMS)


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
    for job in psutil.Process(run.pid).children(recursive=True):  # as a terminal does
        job.send_signal(signal.SIGINT)
    run.communicate(timeout=20)
    assert stages(undisturbed) == []
    _, runs = undisturbed.tracked()
    assert runs and {recorded.info.status for recorded in runs} <= {"KILLED", "FINISHED"}


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
