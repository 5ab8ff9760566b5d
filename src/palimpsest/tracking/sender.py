"""Copies of runs on a tracking server.

Jobs log to `mlflow.db` only, so that a server that is down neither stops nor slows a training. This module sends to
the server what it lacks: new runs, new values and new files. It compares before it sends, so that a call that was
interrupted, or whose answer was lost, is repeated without duplicates.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requests.exceptions import RequestException

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the next call of `send` is the retry
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from palimpsest.layout import TRACKING_DATABASE
from palimpsest.processes.file_locks import exclusive
from palimpsest.tracking.server import Sent, ServerError, shown
from palimpsest.tracking.store import (
    PARENT,
    REGISTERED,
    add_model,
    artifact_folder,
    convert_database_errors,
    folder_at,
)

SENDING = TRACKING_DATABASE.with_suffix(".db.sending")
"""Lock for the copies of runs, since two processes that send the same new run would both create it."""
SENT = "sent"
"""Tag of a local run whose copy is complete: digest of the server's address and of the run's content."""
SOURCE = "source_run"
"""Tag of a copy: identifier of the run that it copies."""
Files = dict[str, list[Path]]
"""Files of a run, by the path of their folder relative to the run's; '' for this folder itself."""
LIMIT = 100
"""Number of parameters or tags that MLflow accepts in one request; it accepts ten times as many metrics."""


@contextmanager
def convert_server_errors(uri: str) -> Iterator[None]:
    """Run a block that uses the server; turn its errors into a message of one line.

    Raises:
        ServerError: the server does not answer, or refuses a request.
    """
    try:
        yield
    except (MlflowException, RequestException) as error:
        text = str(error)
        unreachable = isinstance(error, RequestException) or "Max retries exceeded" in text or "timed out" in text
        reason = "does not answer" if unreachable else f"refuses a request ({text.partition(chr(10))[0]})"
        advice = "the runs are in mlflow.db; once the server works, run `palimpsest sync`"
        raise ServerError(f"{shown(uri)}: the tracking server {reason}; {advice}") from error


def check_server(uri: str) -> None:
    """Check that a server answers.

    Raises:
        ServerError: the server does not answer, or refuses the request.
    """
    with convert_server_errors(uri):
        MlflowClient(uri, uri).search_experiments(max_results=1)


class Sender:
    """Connection between the local runs and a server."""

    def __init__(self, local: MlflowClient, uri: str) -> None:
        """``local`` is a client of `mlflow.db`, and ``uri`` the address of the server."""
        self.uri = uri
        self.local = local
        self.server = MlflowClient(uri, uri)
        self.experiments: dict[str, str] = {}

    def send(self) -> Sent:
        """Send what the server lacks of all runs, and return how much it was.

        Raises:
            ServerError: the server does not answer, or refuses a request. What was sent until then is complete.
            StorageError: the database cannot be read or written.
        """
        sent = Sent()
        with exclusive(SENDING), convert_server_errors(self.uri):
            for run, files, digest in list(self.unsent()):
                self.send_run(run, files, sent)
                if run.info.status != "RUNNING":
                    self.mark(run.info.run_id, digest)
        return sent

    @convert_database_errors()
    def unsent(self) -> Iterator[tuple[Run, Files, str]]:
        """Yield the local runs whose content may not be on the server, parents first, with files and digest."""
        experiments = self.local.search_experiments()
        runs: list[Run] = []
        token: str | None = None
        while token != "":
            page = self.local.search_runs([e.experiment_id for e in experiments], page_token=token)
            runs.extend(page)
            token = page.token or ""
        for run in sorted(runs, key=lambda run: (PARENT in run.data.tags, run.info.start_time)):
            files = files_of(artifact_folder(run))
            digest = digest_of(run, files, self.uri)
            if run.data.tags.get(SENT) != digest:
                yield run, files, digest

    @convert_database_errors()
    def mark(self, run_id: str, digest: str) -> None:
        """Mark the copy of a run as complete."""
        self.local.set_tag(run_id, SENT, digest)

    def send_run(self, run: Run, files: Files, sent: Sent) -> None:
        """Create or complete the copy of a run, and count what was sent."""
        copy = self.copy_of(run)
        if copy is None:
            copy = self.create(run)
            sent.runs += 1
        copy_id = copy.info.run_id
        params = [Param(k, v) for k, v in run.data.params.items() if k not in copy.data.params]
        tags = [RunTag(k, v) for k, v in self.tags_of(run).items() if copy.data.tags.get(k) != v]
        metrics = list(self.missing_metrics(run, copy))
        for start in range(0, max(len(params), len(tags)), LIMIT):
            some = slice(start, start + LIMIT)
            self.server.log_batch(copy_id, params=params[some], tags=tags[some])
        for start in range(0, len(metrics), 10 * LIMIT):
            self.server.log_batch(copy_id, metrics=metrics[start : start + 10 * LIMIT])
        sent.values += len(metrics)
        sent.files += self.send_files(files, copy_id)
        self.send_model(run, copy)
        if run.info.status == "RUNNING":
            if copy.info.status != "RUNNING":
                self.server.update_run(copy_id, status="RUNNING")
        elif (copy.info.status, copy.info.end_time) != (run.info.status, run.info.end_time):
            self.server.set_terminated(copy_id, run.info.status, run.info.end_time)

    def copy_of(self, run: Run) -> Run | None:
        """Return the copy of a run on the server; None without one."""
        query = f"tags.`{SOURCE}` = '{run.info.run_id}'"
        copies = self.server.search_runs([self.experiment(run)], query, max_results=1)
        return copies[0] if copies else None

    def create(self, run: Run) -> Run:
        """Create the copy of a run, with its time of start and its tags, and return it."""
        return self.server.create_run(
            self.experiment(run), run.info.start_time, self.tags_of(run), run.info.run_name
        )

    def tags_of(self, run: Run) -> dict[str, str]:
        """Return the tags of the copy of a run; the parent of the copy is the copy of the parent."""
        tags = {name: value for name, value in run.data.tags.items() if name != SENT}
        if PARENT in tags:
            parent = self.copy_of(self.local.get_run(tags[PARENT]))
            tags |= {PARENT: parent.info.run_id} if parent else {}
        return {**tags, SOURCE: run.info.run_id}

    def experiment(self, run: Run) -> str:
        """Return the identifier of the experiment on the server with the name of a run's; create a missing one."""
        local = run.info.experiment_id
        if local not in self.experiments:
            self.experiments[local] = self.experiment_named(self.local.get_experiment(local).name)
        return self.experiments[local]

    def experiment_named(self, name: str) -> str:
        """Return the identifier of an experiment on the server; create a missing one."""
        existing = self.server.get_experiment_by_name(name)
        if existing is not None:
            return str(existing.experiment_id)
        try:
            return str(self.server.create_experiment(name))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            return self.experiment_named(name)  # another folder has created it in the meantime

    def missing_metrics(self, run: Run, copy: Run) -> Iterator[Metric]:
        """Yield the values of a run that its copy lacks. Two values with the same step and time are the same."""
        for name in run.data.metrics:
            history = self.history(run, name)
            existing = set()
            if name in copy.data.metrics:
                copied = self.server.get_metric_history(copy.info.run_id, name)
                existing = {(metric.step, metric.timestamp) for metric in copied}
            yield from (metric for metric in history if (metric.step, metric.timestamp) not in existing)

    def send_model(self, run: Run, copy: Run) -> None:
        """Log and register the model of a run, if it has one, as the model of the copy."""
        if REGISTERED not in run.data.tags:
            return
        for model in self.local.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        ):
            if model.status == LoggedModelStatus.READY:
                add_model(self.server, copy, folder_at(model.artifact_location), run.data.tags[REGISTERED])

    @convert_database_errors()
    def history(self, run: Run, name: str) -> list[Metric]:
        """Return all values of a metric of a local run."""
        return list(self.local.get_metric_history(run.info.run_id, name))

    def send_files(self, files: Files, copy_id: str) -> int:
        """Send the files that the copy lacks or has with another size; return their number."""
        number = 0
        for folder, paths in files.items():
            listed = self.server.list_artifacts(copy_id, folder or None)
            sizes = {Path(file.path).name: file.file_size for file in listed if not file.is_dir}
            for file in paths:
                if sizes.get(file.name) != file.stat().st_size:
                    self.server.log_artifact(copy_id, str(file), folder or None)
                    number += 1
        return number


def digest_of(run: Run, files: Files, uri: str) -> str:
    """Return the digest of a run's content and of the address of the server."""
    content = {
        "server": uri,
        "status": [run.info.run_name, run.info.status, run.info.end_time],
        "tags": {name: value for name, value in run.data.tags.items() if name != SENT},
        "params": run.data.params,
        "metrics": run.data.metrics,
        "files": [[folder, file.name, file.stat().st_size] for folder, paths in files.items() for file in paths],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def files_of(root: Path) -> Files:
    """Return the files below a folder."""
    folders: Files = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            relative = path.parent.relative_to(root).as_posix()
            folders.setdefault("" if relative == "." else relative, []).append(path)
    return folders
