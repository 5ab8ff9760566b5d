"""Stored task: its file opened, and its tensors loaded into a network.

The header of a file contains all that loading needs: method, settings, network and the path of the base network.
The current `params.yaml` is not read. Loading only reads files and only copies tensors, so that it changes no
stored data.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, SerializeAsAny, ValidationError, model_validator
from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.layout import making_command
from palimpsest.methods import method_class, settings_class
from palimpsest.methods.base import Method, State
from palimpsest.methods.compact import with_statistics
from palimpsest.methods.settings import MethodSettings
from palimpsest.networks import AnyNetwork, build_network
from palimpsest.networks.base import Network
from palimpsest.networks.settings import NetworkSettings
from palimpsest.storage.task_file import TaskFile, load_task, unusable
from palimpsest.tasks import AnyTask, build_task
from palimpsest.tasks.base import Task
from palimpsest.tasks.settings import TaskSettings

Unusable = Callable[[Path, str], StorageError]
"""Function that makes the error for a file that cannot be used, from its path and the reason."""


class TrainedSize(BaseModel):
    """Settings of pictures that inference needs, a part of `CropSettings`."""

    size: int
    """Shorter side in training, in pixels."""


class TrainedTask(BaseModel):
    """Settings of one task that inference needs, a part of `jobs.TaskJob`."""

    name: str
    settings: AnyTask
    pictures: TrainedSize


class TrainedWith(BaseModel):
    """Settings of a training that inference needs, a part of `jobs.TrainingJob`.

    The other settings are not read, so that files of other versions stay usable.
    """

    method: str
    method_settings: SerializeAsAny[MethodSettings] | None = None
    network: AnyNetwork
    tasks: tuple[TrainedTask, ...]

    @model_validator(mode="before")
    @classmethod
    def _settings_are_the_methods(cls, values: Any) -> Any:
        """Replace the method's settings in ``values`` by an instance of their class, if the method has one."""
        if isinstance(values, dict) and isinstance(values.get("method_settings"), dict):
            group = settings_class(str(values.get("method")))
            if group is not None:
                values = {**values, "method_settings": group.model_validate(values["method_settings"])}
        return values

    @classmethod
    def read(cls, path: Path, values: Mapping[str, Any], error: Unusable) -> Self:
        """Read the settings in the header of a file; ``error`` makes the error that names the file.

        Raises:
            StorageError: the settings are from another version and cannot be used.
        """
        try:
            return cls.model_validate(values)
        except (ValidationError, KeyError) as cause:
            problem = cause.errors()[0] if isinstance(cause, ValidationError) else {"loc": (), "msg": str(cause)}
            key = ".".join(map(str, problem["loc"]))
            raise error(path, f"stored with settings of another version ({key}: {problem['msg']})") from cause


@dataclass(frozen=True)
class StoredTask(TaskFile):
    """Opened file of a stored task, which can build the task and a network with its weights."""

    @cached_property
    def trained_with(self) -> TrainedWith:
        """Settings of the training, from the header.

        Raises:
            StorageError: the settings are from another version and cannot be used.
        """
        return TrainedWith.read(self.path, self.provenance.settings, unusable)

    @property
    def network(self) -> NetworkSettings:
        """Settings of the network that the task was learned on."""
        return self.trained_with.network

    @property
    def _task(self) -> TrainedTask:
        """Settings of this task, which can be one of several tasks of the training."""
        for task in self.trained_with.tasks:
            if task.name == self.provenance.task:
                return task
        raise unusable(self.path, f"the settings of the task {self.provenance.task!r} are missing from the header")

    @property
    def task_settings(self) -> TaskSettings:
        """Settings of the task."""
        return self._task.settings

    @property
    def size(self) -> int:
        """Shorter side of the pictures that the task was trained on, in pixels."""
        return self._task.pictures.size

    def task(self) -> Task:
        """Build the task (`palimpsest.tasks`), without its network, on the CPU."""
        return build_task(self.provenance.task, self.task_settings)

    def method(self) -> Method:
        """Build the method of the training, with the settings of that training."""
        return method_class(self.provenance.method)(self.trained_with.method_settings)

    def open_base(self) -> "StoredTask | None":
        """Open the base network's file; return None for a task that needs no base network.

        Raises:
            StorageError: the file is missing, damaged, or contains another base network.
        """
        expected = self.provenance.network_sha256
        if expected is None:
            return None
        base = open_task(self.path.parent / self.provenance.base_file)
        if base.sha256 != expected:
            actual = f"{base.sha256[:12]}… in {base.path}"
            raise unusable(self.path, f"expected the base network {expected[:12]}…, found {actual}")
        return base

    def trunk(self) -> dict[str, Tensor]:
        """Return the tensors that other tasks start from: of this file and its base network, without the head."""
        base = self.open_base()
        base_tensors = base.trunk() if base else {}
        return {**base_tensors, **{name: t for name, t in self.tensors().items() if not name.startswith("head.")}}

    def load(self, latest: "StoredTask | None" = None) -> "LoadedTask":
        """Load the task in its state after the training of ``latest``, a later task of the method.

        None means the state after its own training. Components that all tasks share (`Component.shared`) come from
        the file of ``latest``, so that a method that overwrites weights shows forgetting.

        Raises:
            StorageError: a file is missing, damaged, or of another network.
        """
        latest, base = latest or self, self.open_base()
        for file in [latest, *([base] if base else [])]:
            if not file.network.fits(self.network):
                raise unusable(file.path, f"expected the network {self.network!r}, found {file.network!r}")
        names = {component.name for component in self.components}
        shared = {c.name: c.tensors for c in latest.components if c.shared and c.needed_to == "run"}
        missing = sorted({c.name for c in self.components if c.shared and c.needed_to == "run"} - shared.keys())
        if missing:
            raise unusable(latest.path, f"the component {missing[0]!r}, shared with {self.path}, is missing")
        replaced = {n: t for name, tensors in shared.items() if name in names for n, t in tensors.items()}
        return LoadedTask(
            self.path, self.network, self.method(), base.trunk() if base else {}, self.tensors() | replaced
        )


@dataclass(frozen=True)
class LoadedTask:
    """One task in memory: its tensors, and the method that loads them into a network."""

    path: Path
    """File of the task, for error messages."""
    network: NetworkSettings
    """Settings of the network."""
    method: Method
    base: State
    """Tensors of the base network without its head; empty for a task that needs no base network."""
    tensors: State
    """Tensors of the task itself."""
    unusable: Unusable = unusable
    """Function that returns the error, with advice, for a file that is damaged or does not fit."""

    @property
    def head_channels(self) -> int:
        """Output channels of the head.

        Raises:
            StorageError: the head's weight is missing, or no kernel.
        """
        if "head.weight" not in self.tensors:
            raise self.unusable(self.path, "the tensor 'head.weight' (head) is missing from the stored task")
        weight = self.tensors["head.weight"]
        if weight.ndim != 4 or not len(weight):
            raise self.unusable(self.path, f"head.weight: expected a kernel, found the shape {tuple(weight.shape)}")
        return len(weight)

    def check_head(self, channels: int) -> None:
        """Check that the head has so many output channels.

        Raises:
            StorageError: it has another number.
        """
        if self.head_channels != channels:
            raise self.unusable(
                self.path, f"head.weight: expected {channels} output channels, found {self.head_channels}"
            )

    def new_network(self) -> Network:
        """Build a network on the CPU with random weights and a head for the task.

        Raises:
            StorageError: the head's weight is missing.
        """
        return build_network(self.network, self.head_channels)

    def build(self) -> Network:
        """Build a network on the CPU with the weights of the task, in evaluation mode.

        Raises:
            StorageError: tensors are missing or do not fit the network.
        """
        network = self.new_network()
        self.apply(network)
        return network.eval()

    def apply(self, network: nn.Module) -> None:
        """Load the weights of the task into ``network``, in place.

        The network was built with the settings `LoadedTask.network` and has a head of the task's width.

        Raises:
            StorageError: the stored tensors do not fit the network.
        """
        with self.path_in_errors():
            self.method.load_weights(network, self.base, with_statistics(network, self.tensors))

    def loader(self, network: nn.Module) -> Callable[[], None]:
        """Do what `apply` does, and return a function that does it again; see `Method.loader`.

        Raises:
            StorageError: the stored tensors do not fit the network.
        """
        with self.path_in_errors():
            return self.method.loader(network, self.base, with_statistics(network, self.tensors))

    @contextmanager
    def path_in_errors(self) -> Iterator[None]:
        """Run a block that uses the stored tensors; the message of a `StorageError` names the file of the task.

        Raises:
            StorageError: the error of the block, with path and advice. Errors of NumPy and PyTorch about types and
                shapes are among them, since only a forged file has tensors that do not fit each other.
        """
        try:
            yield
        except StorageError as error:
            raise self.unusable(self.path, str(error)) from error
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            if "memory" in str(error):
                raise
            reason = str(error).partition("\n")[0]
            raise self.unusable(self.path, f"its tensors do not fit the network ({reason})") from error


def open_task(path: Path) -> StoredTask:
    """Open the file of a stored task and verify its checksums; an unchanged file is read only once per process.

    Example:
        >>> stored = open_task(Path("models/mini/seed-0/piggyback/voc-seg.safetensors"))  # doctest: +SKIP
        >>> network, task = stored.load().build(), stored.task()  # doctest: +SKIP

    Raises:
        StorageError: the file is missing, truncated, altered, or not a stored task.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise StorageError(
            f"{path}: the stored task is missing; restore it with `dvc pull`, or run `{making_command(path)}`"
        ) from error
    return _open(path, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=64)
def _open(path: Path, state: tuple[int, ...]) -> StoredTask:
    return StoredTask(**vars(load_task(path)))
