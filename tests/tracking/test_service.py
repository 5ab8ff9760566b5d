"""One process records the runs of all jobs; the jobs import no MLflow and behave as with a store of their own."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from palimpsest.errors import StorageError
from palimpsest.tracking import service
from palimpsest.tracking.runs import training_run, training_tags
from palimpsest.tracking.service import RemoteStore, open_store, start_service
from palimpsest.tracking.store import RunStore
from tests.pipeline.conftest import OF_TRAININGS

pytestmark = pytest.mark.slow  # the service imports MLflow

TAGS = training_tags("mini", 0, "piggyback", "voc-seg")
JOB = """
import sys
from palimpsest.tracking.runs import training_run, training_tags
with training_run(training_tags("mini", 0, "piggyback", "voc-seg"), "key", {"seed": 0}) as run:
    run.epochs([{"step": 2.0, "loss": 0.5}])
    run.tags({"sha256": "ab"})
print("mlflow" in sys.modules)
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    """Yield the process of a service in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(service.ADDRESS, "")
    monkeypatch.setattr(service, "_services", [])
    start_service()
    (process,) = service._services
    yield psutil.Process(process.pid)
    process.communicate()  # closes the standard input and waits
    assert process.returncode == 0


def statuses() -> list[str]:
    """Return the status of every training in the database."""
    query = f"select status from runs where {OF_TRAININGS} order by start_time"
    with sqlite3.connect("mlflow.db") as database:
        return [status for (status,) in database.execute(query)]


def job() -> str:
    """Run `JOB` in a process of its own; return its output: True if it has imported MLflow."""
    done = subprocess.run([sys.executable, "-c", JOB], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


@pytest.mark.usefixtures("started")
def test_a_job_of_a_pipeline_records_its_run_without_mlflow() -> None:
    assert job() == "False"
    assert statuses() == ["FINISHED"]


def test_a_job_without_a_service_records_its_run_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("", f":{tmp_path}", f"{tmp_path}/gone:{tmp_path}"):
        monkeypatch.setenv(service.ADDRESS, address)
        with open_store() as store:
            assert isinstance(store, RunStore)


@pytest.mark.usefixtures("started")
def test_a_job_in_another_folder_records_its_run_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert job() == "True"
    assert statuses() == ["FINISHED"] and not (tmp_path / "mlflow.db").exists()


def test_a_full_disk_is_the_error_of_the_job(started: psutil.Process) -> None:
    with pytest.raises(StorageError, match=r"^mlflow\.db: cannot be written"), training_run(TAGS, "key", {}) as run:
        run.epochs([{"step": 2.0, "loss": 0.5}])
        resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            run.epochs([{"step": 4.0, "loss": 0.5}])
        finally:
            resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert statuses() == ["FAILED"]


@pytest.mark.usefixtures("started")
def test_an_error_of_mlflow_is_the_error_of_the_job() -> None:
    with pytest.raises(Exception, match="cup & saucer"), training_run(TAGS, "key", {"cup & saucer": 1}):
        pass
    assert statuses() == ["FAILED"]


@pytest.mark.usefixtures("started")
def test_a_moved_database_is_made_again() -> None:
    job()
    Path("mlflow.db").rename("moved.db")
    job()
    assert statuses() == ["FINISHED"]


@pytest.mark.usefixtures("started")
def test_an_interrupted_call_is_completed_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = RemoteStore.exchange

    def late(*call: Any) -> Any:
        time.sleep(0.2)
        return exchange(*call)

    def interrupted(future: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(RemoteStore, "exchange", late)
    with open_store() as store:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("concurrent.futures.Future.result", interrupted)
            store.start(TAGS, "key")
        run = store.find(TAGS, "RUNNING")
        assert run is not None
        store.end(run, "KILLED")
    assert statuses() == ["KILLED"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_of_a_terminal_does_not_end_the_service(
    started: psutil.Process, number: signal.Signals
) -> None:
    if number == signal.SIGHUP:
        assert os.getsid(started.pid) == started.pid  # a terminal sends it to its own session
        return
    with training_run(TAGS, "key", {}) as run:
        started.send_signal(number)
        run.epochs([{"step": 2.0, "loss": 0.5}])
    assert statuses() == ["FINISHED"]


def test_a_service_that_is_gone_is_named(started: psutil.Process) -> None:
    with open_store() as store:
        store.find(TAGS)
        service._services[0].kill()
        started.wait()
        with pytest.raises(StorageError, match=r"has ended .*; run the same command again$"):
            store.find(TAGS)
    service._services[0].returncode = 0  # as the fixture expects


PIPELINE = """
import os, subprocess, sys
from palimpsest.tracking.service import start_service
start_service()
job = '''
import sys, time
from palimpsest.tracking.runs import training_run, training_tags
with training_run(training_tags("mini", 0, "piggyback", "voc-seg"), "key", {}) as run:
    print("started", flush=True)
    sys.stdin.readline()
    run.epochs([{"step": 2.0, "loss": 0.5}])
'''
subprocess.Popen([sys.executable, "-c", job])
os.wait()
"""


def test_jobs_record_their_ends_after_the_pipeline_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pipe = subprocess.PIPE
    pipeline = subprocess.Popen([sys.executable, "-c", PIPELINE], stdin=pipe, stdout=pipe, text=True)
    assert pipeline.stdout is not None and pipeline.stdout.readline() == "started\n"
    processes = psutil.Process(pipeline.pid).children()
    assert len(processes) == 2 and statuses() == ["RUNNING"]
    pipeline.kill()
    pipeline.wait()
    time.sleep(0.5)  # the standard input of the service is closed, and its job goes on
    assert all(process.is_running() for process in processes)
    pipeline.communicate("go on\n")
    psutil.wait_procs(processes, timeout=30)
    assert statuses() == ["FINISHED"]
    assert not any(process.is_running() for process in processes)
