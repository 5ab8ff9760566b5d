"""MLflow runs: one per training, identified by its tags; a retry continues the run, and none stays RUNNING.

The database is `mlflow.db` in the repository's root, where `mlflow ui` opens it without flags.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from palimpsest import database
from palimpsest.errors import StorageError, failure_message, no_space
from palimpsest.interruption import is_interruption
from palimpsest.layout import TRACKING_ARTIFACTS, TRACKING_DATABASE, Layout
from palimpsest.methods import entry_of
from palimpsest.methods.base import MASK
from palimpsest.params import dotted
from palimpsest.processes.file_locks import exclusive
from palimpsest.provenance import DIRTY, code_version
from palimpsest.storage.atomic import replacing

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # mlflow reads it at import
import mlflow
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DatabaseError

if TYPE_CHECKING:
    from palimpsest.analysis.forgetting import Cell

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it also raises each error that it logs

Tags = Mapping[str, str]
"""Values of tags by name."""
LOCK = TRACKING_DATABASE.with_suffix(".db.lock")
"""Lock for the creation of MLflow's tables, which fails in all but one of several simultaneous processes."""
COMPLETING = TRACKING_DATABASE.with_suffix(".db.completing")
"""Lock for the completion of runs, since methods measured at the same time complete the run of the base network."""
IDENTITY = ("preset", "seed", "method", "task")
"""Tags that identify the training of a run."""


def training_tags(scope: str, seed: int, method: str, task: str) -> dict[str, str]:
    """Return the tags that identify a training (`IDENTITY`) and its rule; ``scope`` is `Layout.scope`."""
    return {"preset": scope, "seed": str(seed), "method": method, "task": task, "rule": "train"}


def code_tags(version: str) -> dict[str, str]:
    """Return the tags of a commit from `provenance.code_version`; empty without a commit."""
    if not version:
        return {}
    changed = str(version.endswith(DIRTY)).lower()
    return {"mlflow.source.git.commit": version.removesuffix(DIRTY), "code_changed": changed}


class Run:
    """MLflow run of one training, to which this process logs."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.logged = self._last_step()

    def _last_step(self) -> int:
        """Return the last step whose metrics are in the run, or -1; a resumed training must not log steps twice."""
        history = self.client.get_metric_history(self.run_id, "loss")
        return max((int(metric.step) for metric in history), default=-1)

    def settings(self, values: Mapping[str, Any]) -> None:
        """Log settings as parameters, nested ones under dotted names."""
        parameters = [Param(key, str(value)) for key, value in dotted(values).items()]
        self.client.log_batch(self.run_id, params=parameters)

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of each epoch that the run does not have yet; ``history`` has one entry per epoch."""
        now = int(time.time() * 1000)
        new = [entry for entry in history if entry["step"] > self.logged]
        metrics = [
            Metric(name, value, now, int(entry["step"]))
            for entry in new
            for name, value in entry.items()
            if name != "step"
        ]
        if metrics:
            self.client.log_batch(self.run_id, metrics=metrics)
            self.logged = int(new[-1]["step"])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of the finished training."""
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(k, float(v), now, step) for k, v in values.items()])

    def tags(self, values: Tags) -> None:
        """Set tags of the run."""
        for key, value in values.items():
            self.client.set_tag(self.run_id, key, value)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file to the run's artifacts atomically; a copy by MLflow may stay incomplete."""
        artifacts = Path(url2pathname(urlsplit(self.client.get_run(self.run_id).info.artifact_uri).path))
        with replacing(artifacts / (folder or "") / path.name) as temporary:
            shutil.copyfile(path, temporary)


class NoRun:
    """Replacement of a `Run` that logs nothing, for all devices of a training but the first."""

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Ignore the epochs."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Ignore the metrics."""

    def tags(self, values: Tags) -> None:
        """Ignore the tags."""


@contextmanager
def convert_database_errors() -> Iterator[None]:
    """Run a block that uses the database; turn an error of SQLite into a message of one line.

    MLflow's own message contains the SQL statement and a link.

    Raises:
        StorageError: the database cannot be written, as with no space left, or is damaged.
    """
    try:
        yield
    except (MlflowException, DatabaseError) as error:
        cause = error if isinstance(error, DatabaseError) else error.__cause__
        if not isinstance(cause, DatabaseError):
            raise
        if not no_space(cause):
            database.check_database()  # raises a more precise error for a fault of the database itself
        raise StorageError(failure_message(TRACKING_DATABASE, cause)) from error


@convert_database_errors()
def connect(*, to_write: bool = True) -> Any:
    """Return an MLflow client of the database; make the database if it is missing, in one job at a time.

    MLflow makes its tables in many steps and cannot use a database that lacks some of them.

    Raises:
        StorageError: the database cannot be made, or MLflow cannot work with it; see `database.check_database`.
    """
    database.check_database(to_write=to_write)
    mlflow.set_tracking_uri(database.address(TRACKING_DATABASE))
    if database.is_missing(TRACKING_DATABASE):  # an existing one is complete, and reading it must not write
        with exclusive(LOCK):
            make_database()
    return mlflow.MlflowClient()


def make_database() -> None:
    """Make the database atomically, unless another job has made it in the meantime."""
    if database.is_missing(TRACKING_DATABASE):
        with replacing(TRACKING_DATABASE) as temporary:
            mlflow.MlflowClient(database.address(temporary))


def experiment_name(scope: str) -> str:
    """Return the name of the experiment of a `Layout.scope`; a preset and its variants share one."""
    return f"palimpsest-{scope.partition('/')[0]}"


def experiment_of(client: Any, scope: str) -> str:
    """Return the identifier of the experiment of a `Layout.scope`; create the experiment if it is missing."""
    name = experiment_name(scope)
    with exclusive(LOCK):
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(client.create_experiment(name, artifact_location=TRACKING_ARTIFACTS.resolve().as_uri()))


def find_run(client: Any, tags: Tags, status: str | None = None) -> str | None:
    """Return the identifier of the latest run of a training; None without one.

    ``tags`` identify the training; if ``status`` is given, only runs of this status count (RUNNING, FINISHED, …).
    """
    conditions = [f"tags.{key} = '{tags[key]}'" for key in IDENTITY]
    if status:
        conditions.append(f"attributes.status = '{status}'")
    run = latest_run(client, experiment_of(client, tags["preset"]), " and ".join(conditions))
    return str(run.info.run_id) if run else None


def latest_run(client: Any, experiment: str, query: str) -> Any:
    """Return the last started run of an experiment that matches a query; None if none matches."""
    runs = client.search_runs([experiment], query, order_by=["attributes.start_time DESC"], max_results=1)
    return runs[0] if runs else None


def run_of_tensors(scope: str, sha256: str) -> str | None:
    """Return the identifier of the latest run that stored the tensors with this digest; None without one.

    ``scope`` is `Layout.scope`. The database is only read.
    """
    if database.is_missing(TRACKING_DATABASE):
        return None
    client = connect(to_write=False)
    experiment = client.get_experiment_by_name(experiment_name(scope))
    if experiment is None:
        return None
    run = latest_run(client, experiment.experiment_id, f"tags.sha256 = '{sha256}'")
    return str(run.info.run_id) if run else None


@contextmanager
def training_run(
    tags: Tags, key: str, settings: Mapping[str, Any], is_first: bool = True
) -> Iterator["Run | NoRun"]:
    """Yield the MLflow run of a training, and set its final status: FINISHED, FAILED, or KILLED by a signal.

    An interrupted run of the same ``key``, the digest of settings, inputs and code, is continued. If several
    devices train together, only the first one (``is_first``) has a run; the others get a `NoRun`.
    """
    if not is_first:
        yield NoRun()
        return
    with convert_database_errors():
        yield from tracked_run(connect(), tags, key, settings)


def tracked_run(client: Any, tags: Tags, key: str, settings: Mapping[str, Any]) -> Iterator[Run]:
    """Yield the run of a training and set its final status; see `training_run`."""
    try:
        run_id = start_run(client, tags, key)
        run = Run(client, run_id)
        run.tags(code_tags(code_version()))  # a continued run has the same key, and so the same code
        run.settings(settings)  # a continued run gets the same values again
        yield run
        client.set_terminated(run_id, "FINISHED")
    except BaseException as error:
        status = "KILLED" if is_interruption(error) else "FAILED"
        with suppress(MlflowException, StorageError):  # a full disk; a retry continues a RUNNING run too
            open_run = find_run(client, tags, "RUNNING")  # `run_id` is unset after an interruption in `start_run`
            if open_run:
                client.set_terminated(open_run, status)
        raise


def start_run(client: Any, tags: Tags, key: str) -> str:
    """Return the identifier of the run to log to: the latest run of the training, or a new one.

    The latest run is continued if it has this ``key``, the digest of the training, and is unfinished. The status of
    the returned run is RUNNING; an older run that is still RUNNING is set to KILLED.
    """
    run_id = find_run(client, tags)
    previous = client.get_run(run_id) if run_id else None
    if previous and previous.data.tags.get("key") == key and previous.info.status != "FINISHED":
        client.update_run(run_id, status="RUNNING")
        return str(run_id)
    if previous and previous.info.status == "RUNNING":
        client.set_terminated(run_id, "KILLED")  # a retry continues only a run of its own key
    name = f"{tags['method']} · {tags['task']} · seed {tags['seed']}"
    created = client.create_run(experiment_of(client, tags["preset"]), tags={**tags, "key": key}, run_name=name)
    return str(created.info.run_id)


@convert_database_errors()
@exclusive(COMPLETING)
def complete_runs(
    layout: Layout,
    seed: int,
    method: str,
    cells: Sequence["Cell"],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    samples: Path,
) -> None:
    """Add the measurements of a method to the runs of its trainings: metrics, sizes and sample pictures.

    ``cells`` are measurements of each task after each later training, ``tables`` the rows of the method's tables by
    name, and ``samples`` is the folder of the pictures. The run of a training gets the metrics of all tasks learned
    so far. The method that is measured first completes the run of the base network. A joint training has a single
    run. Values that a run already has, as after a second evaluation, are not logged again.
    """
    client = connect()
    last_task, entry = cells[-1].after, entry_of(method)
    for task in [last_task] if entry.together else dict.fromkeys(cell.after for cell in cells):
        learned = cells[0].after if entry.together else task  # a joint training has the first task's name
        run_id = find_run(client, training_tags(layout.scope, seed, method, learned)) or find_run(
            client, training_tags(layout.scope_of(entry.base_training), seed, entry.base_training, learned)
        )
        if run_id is None:
            continue
        run = Run(client, run_id)
        values = {
            f"{cell.task}/{name}": value
            for cell in cells
            if cell.after == task
            for name, value in cell.measurement.metrics.items()
        }
        for size in tables["sizes"]:
            if size["task"] == task or entry.together:
                name = f"bytes/{size['component']}"
                values[name] = values.get(name, 0) + size["bytes"]
        values["bytes"] = sum(value for name, value in values.items() if name.startswith("bytes/"))
        for row in tables["zeros"]:
            if row["task"] == task:
                values[f"zeros/{row['layer']}"] = row["zeros"]
                if row["layer"] == "all":
                    values["bits_per_weight"] = 8 * values[f"bytes/{MASK}"] / row["weights"]
        logged = client.get_run(run_id).data.metrics
        changed = {name: value for name, value in values.items() if logged.get(name) != value}
        if not changed:
            continue
        for picture in sorted((samples / task).glob(f"after-{task}-*.png")):
            run.file(picture, "samples")
        if task != last_task:
            for picture in sorted((samples / task).glob(f"after-{last_task}-*.png")):
                run.file(picture, f"samples-after-{last_task}")
        run.metrics(changed)  # after the pictures: metrics mark the run as complete
