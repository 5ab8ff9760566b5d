"""Store of runs: MLflow's client and its database, `mlflow.db` in the repository's root.

`mlflow ui` opens this database without flags. The import of MLflow takes seconds of CPU time. Therefore only this
module and those that import it (`sender`, `model`) import MLflow, and the jobs of a pipeline share one process that
does (`palimpsest.tracking.service`).
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from palimpsest.errors import StorageError, failure_message, no_space
from palimpsest.layout import TRACKING_ARTIFACTS, TRACKING_DATABASE
from palimpsest.processes.file_locks import exclusive
from palimpsest.storage.atomic import replacing
from palimpsest.tracking import database
from palimpsest.tracking.server import Sent

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads both variables at its import
os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # a moved database must not stay open
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import DatabaseError

if TYPE_CHECKING:
    from palimpsest.data.pictures import Pixels

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it also raises each error that it logs

LOCK = TRACKING_DATABASE.with_suffix(".db.lock")
"""Lock for the creation of MLflow's tables, which fails in all but one of several simultaneous processes."""
IDENTITY = ("preset", "seed", "method", "task")
"""Tags that identify the training of a run."""
REGISTERED = "registered_model"
"""Tag with the name under which the model of a run is registered."""
PARENT = MLFLOW_PARENT_RUN_ID
"""Tag with the identifier of a run's parent."""


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


class RunStore:
    """Runs in the MLflow database of the working directory.

    Arguments and results can be pickled without MLflow, because a store may work for jobs in other processes. Every
    method raises `StorageError` if the database cannot be written or is damaged.
    """

    @convert_database_errors()
    def __init__(self, *, to_write: bool = True) -> None:
        self.client = connect(to_write=to_write)

    @convert_database_errors()
    def start(self, tags: Mapping[str, str], key: str, parent: Mapping[str, str] | None = None) -> str:
        """Return the identifier of the run to log to: the latest run of the training, or a new one with these tags.

        The latest run is continued if it has this ``key``, the digest of the training, and is unfinished. The
        returned run is RUNNING; an older run that is still RUNNING is set to KILLED. ``parent`` are the tags of the
        run above it, which is made if it is missing and is RUNNING as well.
        """
        above = {PARENT: self.start_parent(parent)} if parent else {}
        latest = self.find(tags)
        previous = self.client.get_run(latest) if latest else None
        if previous and previous.data.tags.get("key") == key and previous.info.status != "FINISHED":
            self.client.update_run(latest, status="RUNNING")
            return str(latest)
        if previous and previous.info.status == "RUNNING":
            self.client.set_terminated(latest, "KILLED")  # a retry continues only a run of its own key
        created = self.client.create_run(self.experiment(tags), tags={**tags, **above, "key": key})
        return str(created.info.run_id)

    def start_parent(self, tags: Mapping[str, str]) -> str:
        """Return the identifier of a parent run, which is RUNNING; create it if it is missing."""
        experiment = self.experiment(tags)
        with exclusive(LOCK):  # trainings of a method start at the same time
            run_id = self.latest(experiment, query_of(tags))
            if run_id is None:
                return str(self.client.create_run(experiment, tags=dict(tags)).info.run_id)
        self.client.update_run(run_id, status="RUNNING")
        return run_id

    @convert_database_errors()
    def end(self, run_id: str, status: str) -> None:
        """Set the final status of a run: FINISHED, FAILED or KILLED. The last RUNNING child ends its parent."""
        self.client.set_terminated(run_id, status)
        self.end_parent(self.client.get_run(run_id).data.tags.get(PARENT), status)

    @convert_database_errors()
    def stop(self, tags: Mapping[str, str], parent: Mapping[str, str] | None, status: str) -> None:
        """Set the final status of a training's run and of its parent, as far as they exist and are RUNNING."""
        run_id = self.find(tags, "RUNNING")
        if run_id:
            self.client.set_terminated(run_id, status)
        self.end_parent(self.find(parent, "RUNNING") if parent else None, status)

    def end_parent(self, run_id: str | None, status: str) -> None:
        """Set the final status of a parent run, unless other children are RUNNING."""
        if run_id is None:
            return
        experiment = self.client.get_run(run_id).info.experiment_id
        if not self.latest(experiment, f"tags.`{PARENT}` = '{run_id}' and attributes.status = 'RUNNING'"):
            self.client.set_terminated(run_id, status)

    def experiment(self, tags: Mapping[str, str]) -> str:
        """Return the identifier of the experiment of a training with these tags; create it if it is missing."""
        return experiment_of(self.client, tags["preset"])

    @convert_database_errors()
    def find(self, tags: Mapping[str, str], status: str | None = None) -> str | None:
        """Return the identifier of the latest run of a training; None without one.

        ``tags`` identify the training (`IDENTITY`); if ``status`` is given, only runs of this status count.
        """
        return self.latest(self.experiment(tags), query_of(tags, status))

    @convert_database_errors()
    def find_tensors(self, scope: str, sha256: str) -> str | None:
        """Return the identifier of the latest run that stored the tensors with this digest; None without one.

        ``scope`` is `Layout.scope`. The database is only read.
        """
        experiment = self.client.get_experiment_by_name(experiment_name(scope))
        return self.latest(experiment.experiment_id, f"tags.sha256 = '{sha256}'") if experiment else None

    def latest(self, experiment: str, query: str) -> str | None:
        """Return the identifier of the last started run of an experiment that matches a query; None without one."""
        order = ["attributes.start_time DESC"]
        runs = self.client.search_runs([experiment], query, order_by=order, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    @convert_database_errors()
    def last_step(self, run_id: str) -> int:
        """Return the last step with a training loss in the run, or -1."""
        history = self.client.get_metric_history(run_id, "loss")
        return max((int(metric.step) for metric in history), default=-1)

    @convert_database_errors()
    def values(self, run_id: str) -> dict[str, float]:
        """Return the latest value of each metric of the run."""
        return dict(self.client.get_run(run_id).data.metrics)

    @convert_database_errors()
    def artifacts(self, run_id: str) -> Path:
        """Return the folder of the run's files."""
        return artifact_folder(self.client.get_run(run_id))

    @convert_database_errors()
    def log_settings(self, run_id: str, values: Mapping[str, str]) -> None:
        """Log settings as parameters of the run."""
        self.client.log_batch(run_id, params=[Param(name, value) for name, value in values.items()])

    @convert_database_errors()
    def log_metrics(self, run_id: str, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Log values of metrics; each is a name, a value, a time in milliseconds since 1970, and a step."""
        self.client.log_batch(run_id, metrics=[Metric(*point) for point in points])

    @convert_database_errors()
    def log_model(self, run_id: str, folder: Path, name: str) -> None:
        """Log the MLflow model in a folder as the model of a run, and register it under a name."""
        self.client.set_tag(run_id, REGISTERED, name)
        add_model(self.client, self.client.get_run(run_id), folder, name)

    def send(self, uri: str) -> Sent:
        """Send what a tracking server lacks; return how much it was.

        Raises:
            ServerError: the server does not answer, or refuses a request.
        """
        # Not an import statement: the digest of the code of trainings would contain the module.
        sent: Sent = resolve_name("palimpsest.tracking.sender:Sender")(self.client, uri).send()
        return sent

    @convert_database_errors()
    def log_picture(self, run_id: str, pixels: "Pixels", step: int) -> None:
        """Log a sample picture, uint8 (H, W, 3) RGB; MLflow shows the pictures of a run by their steps."""
        self.client.log_image(run_id, pixels, key="sample", step=step, synchronous=True)

    @convert_database_errors()
    def set_tags(self, run_id: str, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        for name, value in values.items():
            self.client.set_tag(run_id, name, value)


def query_of(tags: Mapping[str, str], status: str | None = None) -> str:
    """Return the query for the runs of a training with these tags, and with this status if it is given."""
    conditions = [f"tags.{key} = '{tags[key]}'" for key in IDENTITY]
    return " and ".join([*conditions, f"attributes.status = '{status}'"] if status else conditions)


def artifact_folder(run: Any) -> Path:
    """Return the folder of a local run's files; ``run`` is an entity of MLflow."""
    return folder_at(run.info.artifact_uri)


def folder_at(uri: str) -> Path:
    """Return the local folder at an address ``file://…``."""
    return Path(url2pathname(urlsplit(uri).path))


def add_model(client: Any, run: Any, folder: Path, name: str) -> None:
    """Log the MLflow model in a folder as the model of a run, and register it, as far as this is not done.

    ``run`` is an entity of MLflow. A model whose files are incomplete, as after a kill, is deleted.
    """
    experiment, run_id = run.info.experiment_id, run.info.run_id
    model = None
    for existing in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if existing.status == LoggedModelStatus.READY:
            model = existing
        else:
            client.delete_logged_model(existing.model_id)
    if model is None:
        model = client.create_logged_model(experiment, "bundle", run_id)
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    if client.search_model_versions(f"run_id = '{run_id}'"):
        return
    if not client.search_registered_models(f"name = '{name}'"):
        with suppress(MlflowException):  # another process has created it in the meantime
            client.create_registered_model(name)
    # Not `models:/<id>`: the local registry would look for this model at the address of the server.
    client.create_model_version(name, model.artifact_location, run_id, model_id=model.model_id)


def connect(*, to_write: bool = True) -> Any:
    """Return an MLflow client of the database; make the database if it is missing, in one job at a time.

    MLflow makes its tables in many steps and cannot use a database that lacks some of them.

    Raises:
        StorageError: the database cannot be made, or MLflow cannot work with it; see `database.check_database`.
    """
    database.check_database(to_write=to_write)
    if database.is_missing(TRACKING_DATABASE):  # an existing one is complete, and reading it must not write
        with exclusive(LOCK):
            make_database()
    uri = database.address(TRACKING_DATABASE)
    # Not `mlflow.set_tracking_uri`, which sets the environment variable of the server.
    return MlflowClient(uri, uri)


def make_database() -> None:
    """Make the database atomically, unless another job has made it in the meantime."""
    if database.is_missing(TRACKING_DATABASE):
        with replacing(TRACKING_DATABASE) as temporary:
            # A client keeps the store of this address and would not make tables again for a moved database.
            SqlAlchemyStore(database.address(temporary), str(TRACKING_ARTIFACTS))  # type: ignore[no-untyped-call]


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
