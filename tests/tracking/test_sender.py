"""Runs are copied to a real tracking server once and whole, whatever happens to the server in between."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import pytest

from palimpsest.bundling import bundle_study
from palimpsest.errors import DataError
from palimpsest.layout import Layout
from palimpsest.tracking import service
from palimpsest.tracking.reports import record_report
from palimpsest.tracking.runs import Run, method_tags, training_run, training_tags
from palimpsest.tracking.sender import PARENT, SENT, SOURCE
from palimpsest.tracking.server import VARIABLE, ServerError, server_uri, shown
from palimpsest.tracking.store import RunStore
from tests.conftest import Study

pytestmark = pytest.mark.slow  # starts servers, which import MLflow

TAGS = training_tags("mini", 0, "piggyback", "voc-seg")
EPOCHS = [{"step": float(step), "loss": 1 / step, "images_per_second": 9.0} for step in range(1, 6)]


def free_port() -> int:
    """Return a port of this machine that no server uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """MLflow server on this machine, with a database and a folder of files of its own."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder, self.backend, self.port = folder, backend, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        places = ["--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "files")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*command, *places], stdout=log, stderr=log, start_new_session=True)
        for _ in range(1200):
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def stop(self) -> None:
        """Stop the server and its workers, if it runs."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def runs(self, experiment: str) -> list[Any]:
        """Return the runs of an experiment, by its name: parents first, then in the order of their start."""
        client = mlflow.MlflowClient(self.uri)
        existing = client.get_experiment_by_name(experiment)
        runs = client.search_runs([existing.experiment_id]) if existing else []
        return sorted(runs, key=lambda run: (PARENT in run.data.tags, run.info.start_time))

    def points(self, run: Any, metric: str) -> list[tuple[int, float]]:
        """Return step and value of each point of a metric."""
        history = mlflow.MlflowClient(self.uri).get_metric_history(run.info.run_id, metric)
        return sorted((point.step, point.value) for point in history)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    """Yield a running server with PostgreSQL, which it finds in Debian's folder or in PATH."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    program = shutil.which("initdb", path=os.pathsep.join([*map(str, reversed(binaries)), os.environ["PATH"]]))
    if program is None:
        pytest.skip("PostgreSQL is not installed")
    user, shared = None, None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root, and another user cannot reach root's folders
        user = next((entry.pw_name for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody")), None)
        shared = "/tmp"
    with TemporaryDirectory(prefix="palimpsest-", dir=shared) as folder:
        shutil.chown(folder, user)
        yield from database_server(Path(program).parent, Path(folder), user)


def database_server(binary: Path, folder: Path, user: str | None) -> Iterator[Server]:
    """Yield a running server with a new PostgreSQL in a folder; ``binary`` is the folder of its programs."""
    port = free_port()
    subprocess.run(
        [binary / "initdb", "--username", "mlflow", "--auth", "trust", "--pgdata", folder / "data", "--no-sync"],
        user=user,
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    options = ["-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
    with (folder / "postgresql.log").open("wb") as log:
        database = subprocess.Popen(
            [binary / "postgres", "-D", folder / "data", *options], user=user, stdout=log, stderr=log, cwd=folder
        )
    server = Server(folder, f"postgresql://mlflow@127.0.0.1:{port}/postgres")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        database.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        database.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a running server with SQLite."""
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, f"sqlite:///{folder}/server.db")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory with an experiment name of its own, since all tests share a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("palimpsest.tracking.store.experiment_name", lambda scope: f"{scope}-{tmp_path.name}")
    return tmp_path


def copies(server: Server, folder: Path) -> list[Any]:
    """Return the copies of the runs of a folder, parents first."""
    return server.runs(f"mini-{folder.name}")


def train(epochs: int = 5, tags: dict[str, str] = TAGS) -> Run:
    """Record a training with this number of epochs and a sample picture; return its run."""
    with training_run(tags, "key", {"network": {"width": 16}, "seed": 0}) as run:
        assert isinstance(run, Run)
        for done in range(1, epochs + 1):
            run.epochs(EPOCHS[:done])
        run.picture(np.zeros((8, 16, 3), np.uint8))
        run.metrics({"final/voc-seg/miou": 50.5})
    return run


def test_a_run_is_copied_whole_and_once(server: Server, folder: Path) -> None:
    run = train()
    first = RunStore().send(server.uri)
    assert (first.runs, first.values, first.files) == (2, 11, 2)
    nothing = RunStore().send(server.uri)
    assert (nothing.runs, nothing.values, nothing.files) == (0, 0, 0)
    above, copy = copies(server, folder)
    local = run.store.client.get_run(run.run_id)
    assert copy.data.metrics == local.data.metrics and copy.data.params == local.data.params
    expected = {**local.data.tags, SOURCE: run.run_id, PARENT: above.info.run_id}
    assert copy.data.tags == {name: value for name, value in expected.items() if name != SENT}
    assert server.points(copy, "loss") == [(step, 1 / step) for step in range(1, 6)]
    assert [copy.info.status, copy.info.start_time, copy.info.end_time] == [
        local.info.status,
        local.info.start_time,
        local.info.end_time,
    ]
    assert above.info.run_name == method_tags(TAGS)["mlflow.runName"] and above.info.status == "FINISHED"
    assert len(mlflow.MlflowClient(server.uri).list_artifacts(copy.info.run_id, "images")) == 2


def test_a_run_is_followed_while_it_goes_on(server: Server, folder: Path) -> None:
    with training_run(TAGS, "key", {}) as run:
        for done in (1, 2, 4):
            run.epochs(EPOCHS[:done])
            RunStore().send(server.uri)
            above, copy = copies(server, folder)
            assert copy.info.status == above.info.status == "RUNNING"
            assert server.points(copy, "loss") == [(step, 1 / step) for step in range(1, done + 1)]
    RunStore().send(server.uri)
    assert [copy.info.status for copy in copies(server, folder)] == ["FINISHED"] * 2


def test_a_change_after_the_end_is_sent(server: Server, folder: Path) -> None:
    run = train()
    RunStore().send(server.uri)
    run.metrics({"final/voc-seg/miou": 51.5, "size/bytes": 9.0})
    sent = RunStore().send(server.uri)
    assert (sent.runs, sent.values, sent.files) == (0, 2, 0)
    _, copy = copies(server, folder)
    assert copy.data.metrics["final/voc-seg/miou"] == 51.5 and len(server.points(copy, "final/voc-seg/miou")) == 2


@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_artifact", "set_terminated"])
def test_a_lost_answer_duplicates_nothing(
    call: str, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    write = getattr(mlflow.MlflowClient, call)

    def lost(*arguments: Any, **options: Any) -> Any:
        write(*arguments, **options)
        raise mlflow.MlflowException("Max retries exceeded")

    with monkeypatch.context() as patch, pytest.raises(ServerError, match="the tracking server does not answer"):
        patch.setattr(mlflow.MlflowClient, call, lost)
        RunStore().send(server.uri)
    RunStore().send(server.uri)
    assert len(copies(server, folder)) == 2
    _, copy = copies(server, folder)
    assert copy.info.status == "FINISHED"
    assert server.points(copy, "loss") == [(step, 1 / step) for step in range(1, 6)]
    assert len(mlflow.MlflowClient(server.uri).list_artifacts(copy.info.run_id, "images")) == 2


def test_a_server_that_is_down_is_named_without_its_password(folder: Path) -> None:
    train()
    port = free_port()
    message = rf"^http://127\.0\.0\.1:{port}: the tracking server does not answer; .* run `palimpsest sync`$"
    with pytest.raises(ServerError, match=message):
        RunStore().send(f"http://me:secret@127.0.0.1:{port}")


def test_a_request_that_the_server_refuses_is_one_line(server: Server, folder: Path) -> None:
    train()
    with pytest.raises(ServerError, match=r"the tracking server refuses a request \([^\n]*404") as error:
        RunStore().send(f"{server.uri}/elsewhere")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("variable", "setting", "expected"),
    [
        (None, None, None),
        (None, "http://team:5000", "http://team:5000"),
        ("http://mine:5000", "http://team:5000", "http://mine:5000"),
        ("", "http://team:5000", "http://team:5000"),
        ("sqlite:///mlflow.db", "http://team:5000", None),
    ],
)
def test_the_environment_has_priority_over_the_setting(
    variable: str | None, setting: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    assert server_uri(setting) == expected


def test_an_address_is_shown_without_its_password() -> None:
    assert shown("https://me:secret@team:5000/mlflow") == "https://team:5000/mlflow"
    assert shown("http://team:5000") == "http://team:5000"


@contextmanager
def pipeline(folder: Path, uri: str) -> Iterator[None]:
    """Run a block with the service of a pipeline in a folder, which sends its runs to a server all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(service.ADDRESS, "")
        patch.setattr(service, "_services", [])
        patch.setattr(service, "INTERVAL", 0.2)
        service.start_service(uri)
        try:
            yield
        finally:
            service._services[0].communicate()  # closes the standard input and waits


TRAINING = """
import sys
from palimpsest.tracking.runs import training_run, training_tags
with training_run(training_tags("eight", int(sys.argv[1]), "piggyback", sys.argv[2]), "key", {"seed": 0}) as run:
    history = []
    for step in range(1, 41):
        history.append({"step": float(step), "loss": 1 / step, "images_per_second": 9.0})
        run.epochs(history)
"""


def test_eight_trainings_at_once_are_whole_on_postgresql(postgresql: Server, tmp_path: Path) -> None:
    arguments = [
        [str(seed), task] for seed in (0, 1) for task in ("voc-seg", "colorize", "style-gogh", "style-munch")
    ]
    with pipeline(tmp_path, postgresql.uri):
        jobs = [subprocess.Popen([sys.executable, "-c", TRAINING, *some], cwd=tmp_path) for some in arguments]
        assert [job.wait() for job in jobs] == [0] * 8
        with service.open_store() as store:
            store.send(postgresql.uri)
    copied = postgresql.runs("palimpsest-eight")
    assert [run.info.status for run in copied] == ["FINISHED"] * 10
    assert {run.info.run_name for run in copied[:2]} == {"piggyback · seed 0", "piggyback · seed 1"}
    trainings = copied[2:]
    assert sorted([run.data.tags["seed"], run.data.tags["task"]] for run in trainings) == sorted(arguments)
    for run in trainings:
        for metric in ("loss", "images_per_second"):
            expected = [(step, 1 / step if metric == "loss" else 9.0) for step in range(1, 41)]
            assert postgresql.points(run, metric) == expected


def test_a_server_that_is_down_for_a_while_gets_everything_once(server: Server, tmp_path: Path) -> None:
    with (
        pipeline(tmp_path, server.uri),
        training_run(training_tags("down", 0, "piggyback", "voc-seg"), "k", {}) as run,
    ):
        run.epochs(EPOCHS[:1])
        while not server.runs("palimpsest-down")[1:] or not server.points(
            server.runs("palimpsest-down")[1], "loss"
        ):
            time.sleep(0.1)
        server.stop()
        run.epochs(EPOCHS[:3])
        with service.open_store() as store, pytest.raises(ServerError, match="does not answer"):
            store.send(server.uri)
        run.epochs(EPOCHS[:4])
        server.start()
        run.epochs(EPOCHS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        RunStore().send(server.uri)
    above, copy = server.runs("palimpsest-down")
    assert above.info.status == copy.info.status == "FINISHED"
    assert server.points(copy, "loss") == [(step, 1 / step) for step in range(1, 6)]


def test_a_report_that_cannot_be_recorded_leaves_no_run_running(folder: Path) -> None:
    layout = Layout("shapes")
    layout.results.mkdir(parents=True)
    (layout.results / "summary.json").write_text("{}")
    page = layout.results / "report.html"
    page.write_text("<!doctype html>")
    with pytest.raises(DataError, match=r"metrics\.csv: cannot be read") as failed:
        record_report(layout, page)
    client = RunStore().client  # while the error keeps all frames alive
    (run,) = client.search_runs([client.get_experiment_by_name(f"shapes-{folder.name}").experiment_id])
    assert failed.value is not None and run.info.status == "FAILED"


def test_the_bundle_of_a_report_is_a_registered_model(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, new_study: Callable[..., Study]
) -> None:
    study = new_study(sequence=["shapes", "colour"])
    study.store_untrained("piggyback", "colour")
    bundle = bundle_study(study.settings, 0, "piggyback")
    monkeypatch.chdir(folder)
    layout = Layout("shapes")
    layout.results.mkdir(parents=True)
    bundle.save(layout.bundle)
    page = layout.results / "report.html"
    page.write_text("<!doctype html>")
    summary = {"piggyback": {"task 2 voc-seg": {"miou": 50.5, "miou_se": 0.1}}}
    (layout.results / "summary.json").write_text(json.dumps(summary))
    for name in ("metrics", "sizes", "forgetting"):
        (layout.results / f"{name}.csv").write_text("seed,method\n")
    record_report(layout, page)
    for _ in range(2):
        RunStore().send(server.uri)
    (run,) = server.runs(f"shapes-{folder.name}")
    client = mlflow.MlflowClient(server.uri, server.uri)
    assert run.data.metrics == {"final/piggyback/voc-seg/miou": 50.5}
    assert "report.html" in [file.path for file in client.list_artifacts(run.info.run_id)]
    (version,) = client.search_model_versions("name = 'shapes'")
    assert version.run_id == run.info.run_id
    monkeypatch.setenv(VARIABLE, server.uri)
    model = mlflow.pyfunc.load_model(f"models:/shapes/{version.version}")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), np.uint8)
    expected = [np.asarray(bundle.translate("colour", picture)) for picture in pictures]
    assert np.array_equal(model.predict(pictures, params={"task": "colour"}), np.stack(expected))
