"""Stored tasks of one method and seed along the sequence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from palimpsest.layout import Layout
from palimpsest.networks.base import Network
from palimpsest.settings import Settings
from palimpsest.storage.prediction_record import PredictionRecord, load_record
from palimpsest.storage.stored_task import LoadedTask, StoredTask, open_task
from palimpsest.storage.task_file import unusable
from palimpsest.task_files import TaskFiles


@dataclass(frozen=True)
class StoredTasks:
    """Stored tasks of one method and seed."""

    layout: Layout
    seed: int
    method: str
    sequence: Sequence[str]

    @property
    def task_files(self) -> TaskFiles:
        """Paths of the files."""
        return TaskFiles(self.layout, self.seed, self.method, self.sequence)

    @property
    def base(self) -> "StoredTasks":
        """Stored tasks of the base network's training."""
        return replace(self, method=self.task_files.entry.base_training)

    @classmethod
    def of(cls, settings: Settings, seed: int, method: str) -> "StoredTasks":
        """Return the stored tasks in the folders of these settings."""
        return cls(settings.layout, seed, method, settings.sequence)

    def path(self, task: str) -> Path:
        """Return the path of a task's file; the base task's can be the base network's, see `is_base`."""
        return self.task_files.path(task)

    def is_base(self, task: str) -> bool:
        """Return whether the base network's file serves as the file of a task."""
        return task == self.sequence[0] and not self.task_files.entry.learns_base_task

    def open(self, task: str) -> StoredTask:
        """Open the file of a task and check its base network.

        Raises:
            StorageError: the file is missing or damaged, contains another task, or needs another base network.
        """
        if self.is_base(task):
            return self.base.open(task)
        path = self.path(task)
        stored = open_task(path)
        header = stored.provenance
        expected = f"{path.parent.name}/{task} of seed {self.seed}"
        actual = f"{header.method}/{header.task} of seed {header.seed}"
        if actual != expected:
            raise unusable(path, f"expected {expected}, found {actual}")
        stored.open_base()
        return stored

    def prediction_record(self, task: str) -> PredictionRecord:
        """Return the record of a task's predictions right after its training.

        Raises:
            StorageError: the record is missing, damaged, or of another task.
        """
        path = self.task_files.prediction_record(task)
        record = load_record(path)
        expected = f"{path.parent.name}/{task} of seed {self.seed}"
        actual = f"{record.method}/{record.task} of seed {record.seed}"
        if actual != expected:
            raise unusable(path, f"expected {expected}, found {actual}")
        return record

    def trunk(self) -> dict[str, Tensor]:
        """Return the tensors of the base task's network that later tasks start from."""
        return self.open(self.sequence[0]).trunk()

    def network(self, task: str, after: str | None = None) -> Network:
        """Build the network for ``task`` as of the training on ``after`` (by default ``task``)."""
        return self.load(task, after).build()

    def load(self, task: str, after: str | None = None) -> LoadedTask:
        """Return ``task`` as of the training on ``after`` (by default ``task``).

        Raises:
            StorageError: a file is missing or damaged, or the files are of different networks.
        """
        return self.open(task).load(self.open(after or task))
