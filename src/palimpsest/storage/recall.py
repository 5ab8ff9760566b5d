"""From stored files back to a network that runs a task.

The files are only read and the base's tensors only copied: applying a task changes nothing that is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import nn

from palimpsest.errors import StorageError
from palimpsest.layout import Layout
from palimpsest.methods import BASE, build_method, entry_of
from palimpsest.methods.base import load_into
from palimpsest.networks import build_network
from palimpsest.settings import AnyMethodSettings, Settings
from palimpsest.storage.task_file import TaskFile, load_task, unusable
from palimpsest.tasks.base import Task


@dataclass(frozen=True)
class StoredTasks:
    """The stored tasks of one method and seed."""

    layout: Layout
    seed: int
    method: str
    method_settings: AnyMethodSettings | None
    sequence: Sequence[str]

    @classmethod
    def of(cls, settings: Settings, seed: int, method: str) -> "StoredTasks":
        """Where the settings put them."""
        return cls(
            Layout(settings.preset),
            seed,
            method,
            settings.method_settings.of(method),
            settings.sequence,
        )

    def path(self, task: str) -> Path:
        """The file of a task; the base network's for the first task, which every method shares."""
        method = BASE if task == self.sequence[0] else self.method
        return self.layout.stored(self.seed, method, task)

    def file(self, task: str) -> TaskFile:
        """The file of a task, checked against the base network it needs.

        Raises:
            StorageError: it is damaged, or belongs to another base network.
        """
        path = self.path(task)
        found = load(path)
        origin = found.provenance
        wanted = f"{path.parent.name}/{task} of seed {self.seed}"
        told = f"{origin.method}/{origin.task} of seed {origin.seed}"
        if told != wanted:
            raise unusable(path, f"expected {wanted}, found {told}")
        expected = found.provenance.network_sha256
        if expected is not None:
            base = load(self.path(self.sequence[0]))
            if base.sha256 != expected:
                told = f"{base.sha256[:12]}… in {base.path}"
                raise unusable(path, f"belongs to the base network {expected[:12]}…, found {told}")
        return found

    def network(self, task: Task, after: str | None = None) -> nn.Module:
        """The network as it runs ``task`` once the task ``after`` has been learned (itself where not given).

        Tensors that all tasks share come from the file of ``after``: this is where a method that overwrites
        its weights is seen to forget.
        """
        own = self.file(task.name)
        latest = self.file(after or task.name)
        network = build_network(own.network, task.head_channels)
        base = self.file(self.sequence[0]) if own.provenance.network_sha256 is not None else own
        for other in (base, latest):
            if other.network != own.network:
                raise unusable(other.path, f"expected the network {own.network!r}, found {other.network!r}")
        if base is not own:
            load_into(network, {name: t for name, t in base.tensors().items() if not name.startswith("head.")})
        tensors = {**own.tensors(), **latest.tensors(shared=True)}
        try:
            build_method(own.provenance.method, self.method_settings).recall(network, tensors)
        except StorageError as error:
            raise unusable(own.path, str(error)) from error
        return network.eval()

    def needed_files(self, task: str) -> list[Path]:
        """The files that learning a task starts from."""
        before = list(self.sequence[: list(self.sequence).index(task)])
        return [self.path(name) for name in entry_of(self.method).needs(before)]


def load(path: Path) -> TaskFile:
    """A stored task, read from the disk once as long as its file stays the same."""
    try:
        state = path.stat()
    except OSError as error:
        raise StorageError(
            f"{path}: there is no such stored task; `snakemake --cores all {path}` makes it"
        ) from error
    return _load(path.resolve(), (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=64)
def _load(path: Path, state: tuple[int, ...]) -> TaskFile:
    return load_task(path)
