"""A stored task that opens by itself: its header names its method, settings, network and base network's file.

Nothing here reads `params.yaml`: what a file was trained with decides how it is used, whatever the settings say
today. Files are only read and the base's tensors only copied, so that applying a task changes nothing stored.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SerializeAsAny, ValidationError, model_validator
from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.methods import build_method
from palimpsest.methods.base import Method, State
from palimpsest.methods.settings import settings_class
from palimpsest.networks import AnyNetwork, build_network
from palimpsest.networks.base import Network
from palimpsest.networks.settings import NetworkSettings
from palimpsest.schema import SettingsGroup
from palimpsest.storage.task_file import TaskFile, load_task, unusable
from palimpsest.tasks import AnyTask, build_task
from palimpsest.tasks.base import Task
from palimpsest.tasks.settings import TaskSettings


class TrainedSize(BaseModel):
    """Size of the pictures that a task was trained on."""

    size: int


class TrainedTask(BaseModel):
    """Settings of one task that running it needs."""

    name: str
    settings: AnyTask
    pictures: TrainedSize


class TrainedWith(BaseModel):
    """Settings of a training that running its tasks needs; the others may differ between versions."""

    method: str
    method_settings: SerializeAsAny[SettingsGroup] | None = None
    network: AnyNetwork
    tasks: tuple[TrainedTask, ...]

    @model_validator(mode="before")
    @classmethod
    def _settings_are_the_methods(cls, values: Any) -> Any:
        """Read the method's settings as an object of their own class."""
        if isinstance(values, dict) and isinstance(values.get("method_settings"), dict):
            found = settings_class(str(values.get("method")))
            if found is not None:
                values = {**values, "method_settings": found.model_validate(values["method_settings"])}
        return values


@dataclass(frozen=True)
class StoredTask(TaskFile):
    """Stored task with all that it takes to run it."""

    @cached_property
    def trained_with(self) -> TrainedWith:
        """Settings of the training, read from the header.

        Raises:
            StorageError: they are those of another version.
        """
        try:
            return TrainedWith.model_validate(self.provenance.settings)
        except (ValidationError, KeyError) as error:
            problem = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
            where = ".".join(map(str, problem["loc"]))
            raise unusable(
                self.path, f"stored with settings of another version ({where}: {problem['msg']})"
            ) from error

    @property
    def network(self) -> NetworkSettings:
        """Settings of the network that the task was learned on."""
        return self.trained_with.network

    @property
    def _task(self) -> TrainedTask:
        """Settings of this task; a training may have learned others beside it."""
        for task in self.trained_with.tasks:
            if task.name == self.provenance.task:
                return task
        raise unusable(self.path, f"its header lacks the settings of the task {self.provenance.task!r}")

    @property
    def task_settings(self) -> TaskSettings:
        """Settings of the task."""
        return self._task.settings

    @property
    def size(self) -> int:
        """Shorter side of the pictures that the task was trained on, in pixels."""
        return self._task.pictures.size

    def task(self) -> Task:
        """Build the task, on the CPU."""
        return build_task(self.provenance.task, self.task_settings)

    def method(self) -> Method:
        """Build the method that learned the task, with the settings that it had."""
        return build_method(self.provenance.method, self.trained_with.method_settings)

    def base(self) -> "StoredTask | None":
        """Open the base network's file; None for a task that brings all that it needs.

        Raises:
            StorageError: the file is missing, damaged, or holds another base network.
        """
        expected = self.provenance.network_sha256
        if expected is None:
            return None
        base = open_task(self.path.parent / self.provenance.base_file)
        if base.sha256 != expected:
            found = f"{base.sha256[:12]}… in {base.path}"
            raise unusable(self.path, f"belongs to the base network {expected[:12]}…, found {found}")
        return base

    def trunk(self) -> dict[str, Tensor]:
        """Return the tensors of this network that other tasks build on: all but the head, its own base's first."""
        base = self.base()
        below = base.trunk() if base else {}
        return {**below, **{name: t for name, t in self.tensors().items() if not name.startswith("head.")}}

    def load(self, latest: "StoredTask | None" = None) -> "LoadedTask":
        """Return what it takes to run the task once the task ``latest`` has been learned (itself by default).

        Tensors that all tasks share come from ``latest``: a method that overwrites its weights forgets there.

        Raises:
            StorageError: the files are of different networks.
        """
        latest, base = latest or self, self.base()
        for other in [latest, *([base] if base else [])]:
            if not other.network.fits(self.network):
                raise unusable(other.path, f"expected the network {self.network!r}, found {other.network!r}")
        names = {component.name for component in self.components}
        shared = {c.name: c.tensors for c in latest.components if c.shared and c.needed_to == "run"}
        lost = sorted({c.name for c in self.components if c.shared and c.needed_to == "run"} - shared.keys())
        if lost:
            raise unusable(latest.path, f"lacks {lost[0]!r}, which it shares with {self.path}")
        replaced = {n: t for name, tensors in shared.items() if name in names for n, t in tensors.items()}
        return LoadedTask(
            self.path, self.network, self.method(), base.trunk() if base else {}, self.tensors() | replaced
        )


@dataclass(frozen=True)
class LoadedTask:
    """Tensors and method that make a network run one task."""

    path: Path
    """File of the task."""
    network: NetworkSettings
    method: Method
    base: State
    """Tensors of the base network; empty for a method that starts from nothing."""
    tensors: State
    """Tensors of the task."""

    def build(self) -> Network:
        """Build a network that runs the task, in evaluation mode.

        Raises:
            StorageError: the stored task is not whole.
        """
        if "head.weight" not in self.tensors:
            raise unusable(self.path, "the stored task lacks 'head.weight' (head): it is not whole")
        network = build_network(self.network, len(self.tensors["head.weight"]))
        self.apply(network)
        return network.eval()

    def apply(self, network: nn.Module) -> None:
        """Make ``network``, of these settings and with a head of the task's width, run the task in place.

        Raises:
            StorageError: the stored tensors do not fit the network.
        """
        try:
            self.method.load_weights(network, self.base, self.tensors)
        except StorageError as error:
            raise unusable(self.path, str(error)) from error


def open_task(path: Path) -> StoredTask:
    """Open a stored task; the file is read from the disk once as long as it stays the same.

    Example:
        >>> stored = open_task(Path("models/mini/seed-0/piggyback/voc-seg.safetensors"))  # doctest: +SKIP
        >>> network, task = stored.load().build(), stored.task()  # doctest: +SKIP

    Raises:
        StorageError: the file is missing, truncated, altered, or no stored task.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise StorageError(
            f"{path}: there is no such stored task; `snakemake --cores all {path}` makes it"
        ) from error
    return _open(path, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=64)
def _open(path: Path, state: tuple[int, ...]) -> StoredTask:
    return StoredTask(**vars(load_task(path)))
