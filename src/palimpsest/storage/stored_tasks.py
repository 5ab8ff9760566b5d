"""From stored files back to a network that runs a task.

The files are only read and the base's tensors only copied: applying a task changes nothing that is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.layout import Layout
from palimpsest.methods import build_method
from palimpsest.methods.base import Method, State
from palimpsest.methods.settings import AnyMethodSettings
from palimpsest.networks import Network, build_network
from palimpsest.settings import NetworkSettings, Settings
from palimpsest.storage.prediction_record import PredictionRecord, load_record
from palimpsest.storage.task_file import TaskFile, load_task, unusable
from palimpsest.task_files import TaskFiles
from palimpsest.tasks.base import Task


@dataclass(frozen=True)
class StoredTasks:
    """The stored tasks of one method and seed."""

    layout: Layout
    seed: int
    method: str
    method_settings: AnyMethodSettings | None
    sequence: Sequence[str]

    @property
    def task_files(self) -> TaskFiles:
        """Which files these are."""
        return TaskFiles(self.layout, self.seed, self.method, self.sequence)

    @property
    def base(self) -> "StoredTasks":
        """The base network, as the training or method that made it stored it."""
        return replace(self, method=self.task_files.entry.base, method_settings=None)

    @classmethod
    def of(cls, settings: Settings, seed: int, method: str) -> "StoredTasks":
        """Where the settings put them."""
        return cls(
            settings.layout,
            seed,
            method,
            settings.method_settings.of(method),
            settings.sequence,
        )

    def path(self, task: str) -> Path:
        """The file of a task; the base network's for the first, unless the method takes that on too."""
        return self.task_files.path(task)

    def is_base(self, task: str) -> bool:
        """Whether a task is the base network's, and not one that the method has stored in its own way."""
        return task == self.sequence[0] and not self.task_files.entry.learns_base_task

    def file(self, task: str) -> TaskFile:
        """The file of a task, checked against the base network it needs.

        Raises:
            StorageError: it is damaged, or belongs to another base network.
        """
        if self.is_base(task):
            return self.base.file(task)
        path = self.path(task)
        found = load(path)
        origin = found.provenance
        wanted = f"{path.parent.name}/{task} of seed {self.seed}"
        told = f"{origin.method}/{origin.task} of seed {origin.seed}"
        if told != wanted:
            raise unusable(path, f"expected {wanted}, found {told}")
        expected = found.provenance.network_sha256
        if expected is not None:
            base = load(self.task_files.base)
            if base.sha256 != expected:
                told = f"{base.sha256[:12]}… in {base.path}"
                raise unusable(path, f"belongs to the base network {expected[:12]}…, found {told}")
        return found

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
        """What other tasks find of the first task's network: all but its head; what it is added to comes first."""
        own = self.file(self.sequence[0])
        below = self.base.trunk() if own.provenance.network_sha256 is not None else {}
        return {**below, **{n: tensor for n, tensor in own.tensors().items() if not n.startswith("head.")}}

    def network(self, task: Task, after: str | None = None) -> Network:
        """The network as it runs ``task`` once the task ``after`` has been learned (itself where not given)."""
        loaded_task = self.load(task.name, after)
        network = build_network(loaded_task.network, task.head_channels)
        loaded_task.apply(network)
        return network.eval()

    def load(self, task: str, after: str | None = None) -> "LoadedTask":
        """All that it takes to run a task once the task ``after`` has been learned.

        Tensors that all tasks share come from the file of ``after``: this is where a method that overwrites
        its weights is seen to forget.

        Raises:
            StorageError: the files are of different networks.
        """
        own = self.file(task)
        latest = self.file(after or task)
        adds_to_base = own.provenance.network_sha256 is not None
        for other in [latest, *([self.base.file(self.sequence[0])] if self.task_files.entry.adds_to_base else [])]:
            if not fits(other.network, own.network):
                raise unusable(other.path, f"expected the network {own.network!r}, found {other.network!r}")
        names = {component.name for component in own.components}
        shared = {c.name: c.tensors for c in latest.components if c.shared and c.needed_to == "run"}
        lost = sorted({c.name for c in own.components if c.shared and c.needed_to == "run"} - shared.keys())
        if lost:
            raise unusable(latest.path, f"lacks {lost[0]!r}, which it shares with {own.path}")
        owner = self.base if self.is_base(task) else self
        return LoadedTask(
            own.path,
            own.network,
            build_method(own.provenance.method, owner.method_settings),
            owner.base.trunk() if adds_to_base else {},
            own.tensors() | {n: t for name, tensors in shared.items() if name in names for n, t in tensors.items()},
        )


@dataclass(frozen=True)
class LoadedTask:
    """All that it takes to make a network run one task."""

    path: Path
    """The file of the task."""
    network: NetworkSettings
    method: Method
    base: State
    """The base network's tensors; none where the method starts from nothing."""
    tensors: State
    """What is stored of the task."""

    def build(self) -> nn.Module:
        """A network that runs the task.

        Raises:
            StorageError: what is stored is not whole.
        """
        if "head.weight" not in self.tensors:
            raise unusable(self.path, "the stored task lacks 'head.weight' (head): it is not whole")
        network = build_network(self.network, len(self.tensors["head.weight"]))
        self.apply(network)
        return network.eval()

    def apply(self, network: nn.Module) -> None:
        """Make the network, of these settings and with a head of the task's width, run the task.

        Raises:
            StorageError: what is stored does not fit the network.
        """
        try:
            self.method.load_weights(network, self.base, self.tensors)
        except StorageError as error:
            raise unusable(self.path, str(error)) from error


def fits(network: NetworkSettings, other: NetworkSettings) -> bool:
    """Whether both have the same layers, but for blocks that one may have more than the other."""
    return network.model_copy(update={"blocks": other.blocks}) == other


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
