"""Runs of trainings: identified by tags; a retry continues the run, and none stays RUNNING.

A run per method and seed is the parent of the runs of its trainings, one per task.
"""

import getpass
import inspect
import math
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.interruption import is_interruption
from palimpsest.layout import TRACKING_DATABASE, Layout
from palimpsest.methods import entry_of, method_class
from palimpsest.params import dotted
from palimpsest.processes.file_locks import exclusive
from palimpsest.provenance import DIRTY, code_version
from palimpsest.storage.atomic import replacing
from palimpsest.tracking import database
from palimpsest.tracking.service import open_store

if TYPE_CHECKING:
    from palimpsest.analysis.forgetting import Cell
    from palimpsest.data.pictures import Pixels
    from palimpsest.tracking.store import RunStore

COMPLETING = TRACKING_DATABASE.with_suffix(".db.completing")
"""Lock for the completion of runs, since methods measured at the same time complete the run of the base network."""


ALL = "all"
"""Value of a tag that names no single task, method or seed."""
NAME = "mlflow.runName"
"""Tag with the name of a run."""
NOTE = "mlflow.note.content"
"""Tag with the description of a run, in Markdown."""


def training_tags(scope: str, seed: int, method: str, task: str) -> dict[str, str]:
    """Return the tags that identify a training (`store.IDENTITY`), and its rule, name and description.

    ``scope`` is `Layout.scope`.
    """
    return {
        "preset": scope,
        "seed": str(seed),
        "method": method,
        "task": task,
        "rule": "train",
        NAME: f"{method} · {task} · seed {seed}",
        NOTE: f"Training of `{method}` on `{task}`. {description_of(method)}",
    }


def method_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of the run above the trainings of a method and seed; ``tags`` are those of a training."""
    method, seed = tags["method"], tags["seed"]
    return {
        "preset": tags["preset"],
        "seed": seed,
        "method": method,
        "task": ALL,
        "rule": "evaluate",
        NAME: f"{method} · seed {seed}",
        NOTE: f"Trainings of `{method}` with the seed {seed}; metrics after the last. {description_of(method)}",
    }


def description_of(method: str) -> str:
    """Return the first sentence of a method's documentation."""
    return (inspect.getdoc(method_class(method)) or "").partition("\n")[0]


def code_tags(version: str) -> dict[str, str]:
    """Return the tags of a commit from `provenance.code_version`; empty without a commit."""
    if not version:
        return {}
    changed = str(version.endswith(DIRTY)).lower()
    return {"mlflow.source.git.commit": version.removesuffix(DIRTY), "code_changed": changed}


def origin_tags() -> dict[str, str]:
    """Return the tags of the user and the program of this process, under which MLflow lists a run's origin."""
    tags = {"mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # a container may lack a name for the user's number
        tags["mlflow.user"] = getpass.getuser()
    return tags


class Run:
    """Run of one training, to which this process logs."""

    def __init__(self, store: "RunStore", run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self.logged = store.last_step(run_id)  # a resumed training must not log steps twice
        self.pictured = self.logged

    def settings(self, values: Mapping[str, Any]) -> None:
        """Log settings as parameters, nested ones under dotted names."""
        self.store.log_settings(self.run_id, {name: str(value) for name, value in dotted(values).items()})

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of each epoch that the run does not have yet; ``history`` has one entry per epoch."""
        new = [entry for entry in history if entry["step"] > self.logged]
        if new:
            self._log(
                [(int(entry["step"]), name, entry[name]) for entry in new for name in entry if name != "step"]
            )
            self.logged = int(new[-1]["step"])

    def picture(self, pixels: "Pixels") -> None:
        """Log a sample picture of the last epoch, uint8 (H, W, 3) RGB, unless the run has it already."""
        if self.logged > self.pictured:
            self.store.log_picture(self.run_id, pixels, self.logged)
            self.pictured = self.logged

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log metrics of the finished training."""
        self._log([(0, name, float(value)) for name, value in values.items()])

    def _log(self, values: Sequence[tuple[int, str, float]]) -> None:
        """Log values of metrics; each is a step, a name and a value."""
        now = int(time.time() * 1000)
        self.store.log_metrics(self.run_id, [(name, value, now, step) for step, name, value in values])

    def changed(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return those of these metrics that the run does not have with these values."""
        logged = self.store.values(self.run_id)
        return {name: value for name, value in values.items() if logged.get(name) != value}

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self.store.set_tags(self.run_id, values)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file to the run's artifacts atomically; a copy by MLflow may stay incomplete."""
        with replacing(self.store.artifacts(self.run_id) / (folder or "") / path.name) as temporary:
            shutil.copyfile(path, temporary)


class NoRun:
    """Replacement of a `Run` that logs nothing, for all devices of a training but the first."""

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Ignore the epochs."""

    def picture(self, pixels: "Pixels") -> None:
        """Ignore the picture."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Ignore the metrics."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Ignore the tags."""


def run_of_tensors(scope: str, sha256: str) -> str | None:
    """Return the identifier of the latest run that stored the tensors with this digest; None without one.

    ``scope`` is `Layout.scope`. The database is only read.

    Raises:
        StorageError: the database cannot be read.
    """
    if database.is_missing(TRACKING_DATABASE):
        return None
    from palimpsest.tracking.store import RunStore  # noqa: PLC0415 - imports MLflow

    return RunStore(to_write=False).find_tensors(scope, sha256)


@contextmanager
def training_run(
    tags: Mapping[str, str], key: str, settings: Mapping[str, Any], is_first: bool = True
) -> Iterator[Run | NoRun]:
    """Yield the MLflow run of a training, and set its final status: FINISHED, FAILED, or KILLED by a signal.

    An interrupted run of the same ``key``, the digest of settings, inputs and code, is continued. If several
    devices train together, only the first one (``is_first``) has a run; the others get a `NoRun`.
    """
    if not is_first:
        yield NoRun()
        return
    with open_store() as store, tracked_run(store, tags, key, settings, method_tags(tags)) as run:
        yield run


@contextmanager
def tracked_run(
    store: "RunStore",
    tags: Mapping[str, str],
    key: str,
    settings: Mapping[str, Any],
    parent: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Yield a run and set its final status, and that of the run above it, whose tags are ``parent``."""
    origin = origin_tags()
    try:
        run_id = store.start({**tags, **origin}, key, {**parent, **origin} if parent else None)
        run = Run(store, run_id)
        run.tags(code_tags(code_version()))  # a continued run has the same key, and so the same code
        run.settings(settings)  # a continued run gets the same values again
        yield run
        store.end(run_id, "FINISHED")
    except BaseException as error:
        status = "KILLED" if is_interruption(error) else "FAILED"
        with suppress(Exception):  # such as a full disk; a retry continues a RUNNING run too
            store.stop(tags, parent, status)  # `run_id` is unset after an interruption in `start`
        raise


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
    so far; the run above it those after the last task. The method that is measured first completes the run of the
    base network. A joint training has a single run. Values that a run already has, as after a second evaluation,
    are not logged again.
    """
    last_task, entry = cells[-1].after, entry_of(method)
    tasks = [last_task] if entry.together else list(dict.fromkeys(cell.after for cell in cells))
    with open_store() as store:
        for task in tasks:
            learned = cells[0].after if entry.together else task  # a joint training has the first task's name
            run_id = store.find(training_tags(layout.scope, seed, method, learned)) or store.find(
                training_tags(layout.scope_of(entry.base_training), seed, entry.base_training, learned)
            )
            if run_id is None:
                continue
            run = Run(store, run_id)
            changed = run.changed(measured_values(cells, tables, task, of_all_tasks=entry.together))
            if not changed:
                continue
            for after in dict.fromkeys((task, last_task)):
                folder = "samples" if after == task else f"samples-after-{after}"
                for picture in sorted((samples / task).glob(f"after-{after}-*.png")):
                    run.file(picture, folder)
            run.metrics(changed)  # after the pictures: metrics mark the run as complete
        above = store.find(method_tags(training_tags(layout.scope, seed, method, last_task)))
        if above is not None:
            run = Run(store, above)
            run.metrics(run.changed(measured_values(cells, tables, last_task, of_all_tasks=True)))


def measured_values(
    cells: Sequence["Cell"],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    task: str,
    *,
    of_all_tasks: bool,
) -> dict[str, float]:
    """Return the measurements after the training of a task as metrics of its run, by name; see `complete_runs`.

    ``of_all_tasks`` counts the bytes of all tasks, as for a joint training, and gives the zeros per task instead of
    per layer. MLflow sorts metrics by name, so that those that begin with ``final`` are above the others.
    """
    values: dict[str, float] = {
        f"final/{cell.task}/{name}": value
        for cell in cells
        if cell.after == task
        for name, value in cell.measurement.metrics.items()
    }
    for size in tables["sizes"]:
        if size["task"] == task or of_all_tasks:
            name = f"size/bytes/{size['component']}"
            values[name] = values.get(name, 0) + size["bytes"]
            if not of_all_tasks:
                values[f"size/bits_per_weight/{size['component']}"] = size["bits_per_weight"]
                if math.isfinite(size["entropy"]):
                    values[f"size/entropy/{size['component']}"] = size["entropy"]
    for total in ("bytes",) if of_all_tasks else ("bytes", "bits_per_weight"):
        values[f"size/{total}"] = sum(v for name, v in values.items() if name.startswith(f"size/{total}/"))
    for row in tables["zeros"]:
        if of_all_tasks and row["layer"] == ALL:
            values[f"zeros/{row['task']}"] = row["zeros"]
        elif row["task"] == task and not of_all_tasks:
            values[f"zeros/{row['layer']}"] = row["zeros"]
    return values
