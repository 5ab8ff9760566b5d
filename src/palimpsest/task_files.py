"""Files of one method along the sequence: the file of each task, and the files that its training starts from.

Both the rules of the pipeline and the trainings use these paths. This module reads no file and imports no PyTorch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from palimpsest.layout import PREDICTIONS, Layout
from palimpsest.methods import Entry, entry_of


@dataclass(frozen=True)
class TaskFiles:
    """Paths of the files of one method and seed along a sequence of tasks."""

    layout: Layout
    seed: int | str
    method: str
    sequence: Sequence[str]

    @property
    def entry(self) -> Entry:
        """Row of the method in the table of methods."""
        return entry_of(self.method)

    @property
    def base(self) -> Path:
        """File of the base network that the method builds on."""
        return self.layout.stored(self.seed, self.entry.base_training, self.sequence[0])

    def base_files(self) -> list[Path]:
        """Return the files of the base network: its own, preceded by those of a base that it extends, if any."""
        base_method = replace(self, method=self.entry.base_training)
        return [*(base_method.base_files() if base_method.entry.adds_to_base else []), self.base]

    def path(self, task: str) -> Path:
        """Return the file of a task; for the first task the base network's, unless the method trains on it too."""
        if task == self.sequence[0] and not self.entry.learns_base_task:
            return self.base
        return self.layout.stored(self.seed, self.method, task)

    def files(self, tasks: Sequence[str] = ()) -> list[Path]:
        """Return the files that inference of ``tasks`` needs, each once; without ``tasks``, of the whole sequence.

        They are the file of each task (`path`), in the order of ``tasks``. Only if the method adds to the base
        network (`Entry.adds_to_base`), the files of the base network precede them.
        """
        base_files = self.base_files() if self.entry.adds_to_base else []
        return list(dict.fromkeys([*base_files, *map(self.path, tasks or self.sequence)]))

    def prediction_records(self) -> list[Path]:
        """Return the path of each task's prediction record, in the order of the sequence."""
        return [self.prediction_record(task) for task in self.sequence]

    def prediction_record(self, task: str) -> Path:
        """Return the path of a task's `PredictionRecord`, beside the file of the task."""
        return self.path(task).with_suffix(PREDICTIONS)

    def trained_with(self, task: str) -> list[str]:
        """Return the tasks that the training of ``task`` learns: it alone, or in `joint` the whole sequence."""
        return list(self.sequence) if self.entry.together else [task]

    def earlier_tasks(self, task: str) -> list[str]:
        """Return the tasks before ``task`` in the sequence."""
        return list(self.sequence[: list(self.sequence).index(task)])

    def starting_files(self, task: str) -> list[Path]:
        """Return the files that the training of a task starts from; none for a start from random weights."""
        earlier = [self.path(name) for name in self.earlier_tasks(task)]
        starts = {"nothing": [], "base": self.base_files(), "previous": earlier or self.base_files()}
        return starts[self.entry.starts_from]
