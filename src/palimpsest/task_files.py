"""The way of one method through the sequence: which file each task leaves, and what a training starts from.

The pipeline's graph and the trainings themselves ask here, so that both see the same files. Reads no file, and
needs no PyTorch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from palimpsest.layout import PREDICTIONS, Layout
from palimpsest.methods import Entry, entry_of


@dataclass(frozen=True)
class TaskFiles:
    """One method and seed."""

    layout: Layout
    seed: int | str
    method: str
    sequence: Sequence[str]

    @property
    def entry(self) -> Entry:
        """What is entered of the method."""
        return entry_of(self.method)

    @property
    def base(self) -> Path:
        """The base network's file."""
        return self.layout.stored(self.seed, self.entry.base, self.sequence[0])

    def base_files(self) -> list[Path]:
        """All files that the base network is in: what is added to one may itself be added to another."""
        below = replace(self, method=self.entry.base)
        return [*(below.base_files() if below.entry.adds_to_base else []), self.base]

    def path(self, task: str) -> Path:
        """The file that a task leaves; the base network's for the first, unless the method takes that on too."""
        if task == self.sequence[0] and not self.entry.learns_base_task:
            return self.base
        return self.layout.stored(self.seed, self.method, task)

    def files(self, tasks: Sequence[str] = ()) -> list[Path]:
        """All that these tasks need to run, or that all of the sequence need, in their order."""
        below = self.base_files() if self.entry.adds_to_base else []
        return list(dict.fromkeys([*below, *map(self.path, tasks or self.sequence)]))

    def prediction_records(self) -> list[Path]:
        """Return the prediction record of every task of the sequence, in its order."""
        return [self.prediction_record(task) for task in self.sequence]

    def prediction_record(self, task: str) -> Path:
        """Return the record beside the file that a task leaves."""
        return self.path(task).with_suffix(PREDICTIONS)

    def trained_with(self, task: str) -> list[str]:
        """Return the tasks that one training teaches together, of which ``task`` is one."""
        return list(self.sequence) if self.entry.together else [task]

    def before(self, task: str) -> list[str]:
        """The tasks that are learned before one."""
        return list(self.sequence[: list(self.sequence).index(task)])

    def needed(self, task: str) -> list[Path]:
        """The files that learning a task starts from."""
        earlier = [self.path(name) for name in self.before(task)]
        starts = {"nothing": [], "base": self.base_files(), "previous": earlier or self.base_files()}
        return starts[self.entry.starts_from]
