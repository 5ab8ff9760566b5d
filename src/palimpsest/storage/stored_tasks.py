"""The stored tasks of one method and seed along the sequence."""

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
    """The stored tasks of one method and seed."""

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
        """Base network, as the training or method that made it stored it."""
        return replace(self, method=self.task_files.entry.base)

    @classmethod
    def of(cls, settings: Settings, seed: int, method: str) -> "StoredTasks":
        """Return the stored tasks at the places that the settings name."""
        return cls(settings.layout, seed, method, settings.sequence)

    def path(self, task: str) -> Path:
        """Return the file of a task; the base network's for the first, unless the method learns that too."""
        return self.task_files.path(task)

    def is_base(self, task: str) -> bool:
        """Return whether a task is the base network's, and not one that the method stored in its own way."""
        return task == self.sequence[0] and not self.task_files.entry.learns_base_task

    def file(self, task: str) -> StoredTask:
        """Open the file of a task, checked against the base network that it needs.

        Raises:
            StorageError: the file is missing or damaged, holds another task, or belongs to another base network.
        """
        if self.is_base(task):
            return self.base.file(task)
        path = self.path(task)
        stored = open_task(path)
        header = stored.provenance
        expected = f"{path.parent.name}/{task} of seed {self.seed}"
        found = f"{header.method}/{header.task} of seed {header.seed}"
        if found != expected:
            raise unusable(path, f"expected {expected}, found {found}")
        stored.base()
        return stored

    def prediction_record(self, task: str) -> PredictionRecord:
        """Return the record of a task's predictions when it had just been learned.

        Raises:
            StorageError: it is missing, damaged, or of another task.
        """
        path = self.task_files.prediction_record(task)
        found = load_record(path)
        expected = f"{path.parent.name}/{task} of seed {self.seed}"
        recorded = f"{found.method}/{found.task} of seed {found.seed}"
        if recorded != expected:
            raise unusable(path, f"expected {expected}, found {recorded}")
        return found

    def trunk(self) -> dict[str, Tensor]:
        """Return the tensors of the first task's network that other tasks build on."""
        return self.file(self.sequence[0]).trunk()

    def network(self, task: str, after: str | None = None) -> Network:
        """Build the network that runs ``task`` once the task ``after`` has been learned (itself by default)."""
        return self.load(task, after).build()

    def load(self, task: str, after: str | None = None) -> LoadedTask:
        """Return what it takes to run ``task`` once the task ``after`` has been learned (itself by default).

        Raises:
            StorageError: the files are of different networks.
        """
        return self.file(task).load(self.file(after or task))
