"""Bundle: a network and all its tasks in one file, which runs without the study that trained them.

import palimpsest

bundle = palimpsest.open("tasks.safetensors")
print(bundle.tasks)
bundle.translate("colorize", "photo.jpg").save("coloured.png")
"""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from palimpsest.data.pictures import Limits, Pixels, picture_pixels, read_picture
from palimpsest.devices import device_for
from palimpsest.errors import DataError, PalimpsestError, check_name
from palimpsest.methods import BASES, METHODS, method_class
from palimpsest.methods.base import Method, State
from palimpsest.networks import build_network
from palimpsest.networks.outline import outline
from palimpsest.networks.settings import NetworkSettings
from palimpsest.storage.bundle_file import (
    BASE,
    BundleFile,
    load_bundle,
    save_bundle,
    shortened,
    unusable,
)
from palimpsest.storage.bundle_header import TaskEntry
from palimpsest.storage.stored_task import LoadedTask, TrainedWith
from palimpsest.storage.switcher import TaskSwitcher
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Task
from palimpsest.tasks.settings import TaskSettings
from palimpsest.translation import Translator, translator_of


class Bundle:
    """Network and tasks of a file in memory; every task shares the tensors of the base network."""

    def __init__(self, file: BundleFile) -> None:
        self.file = file
        self.entries = {entry.name: entry for entry in file.header.tasks}
        self._parts = {name: in_float32(part) for name, part in file.parts.items()}
        self._translators: dict[str, Translator] = {}

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order of learning."""
        return list(self.entries)

    def translate(self, task: str, picture: Path | str | Image.Image | Pixels) -> Image.Image:
        """Return the translation of a picture, which has the picture's size.

        ``picture`` is a path, a picture of Pillow, or an array, uint8 (H, W, 3) RGB. A segmentation returns a
        picture of mode ``P``: its values are the labels, its palette has the colours of the classes.

        Raises:
            SettingsError: the bundle has no such task.
            DataError: the picture cannot be read, is of another type or empty, or is too large for the memory.
            StorageError: tensors of the task are missing or do not fit.
        """
        pixels, name = pixels_of(picture)
        if task not in self._translators:
            self._translators[task] = self.translator(task)
        return self._translators[task].image(pixels, name)

    def network(self, task: str) -> nn.Module:
        """Return a new network with the weights of a task, on the CPU in evaluation mode.

        It maps float32 (N, 3, H, W) in [0, 1] to (N, head_channels, H, W), H and W multiples of its `stride`.

        Raises:
            SettingsError: the bundle has no such task.
            StorageError: tensors of the task are missing or do not fit.
        """
        return self.load(task).build()

    def task(self, name: str) -> Task:
        """Return a task (`palimpsest.tasks`), without its network: preprocessing, loss, metrics, postprocessing.

        Raises:
            SettingsError: the bundle has no such task.
            StorageError: the settings of the task are invalid, or do not fit the header.
        """
        entry, task = self.entry(name), build_task(name, self.settings(name))
        for key, expected, stored in (
            ("head_channels", task.head_channels, entry.head_channels),
            ("working_scale", task.working_scale, entry.working_scale),
            ("classes", list(task.classes or ()), entry.classes or []),
        ):
            if stored != expected:
                raise unusable(
                    self.file.path,
                    f"the task {name!r} has {key} {shortened(repr(stored))}, and its settings "
                    f"have {shortened(repr(expected))}",
                )
        return task

    def settings(self, name: str) -> TaskSettings:
        """Return the settings of a task.

        Raises:
            SettingsError: the bundle has no such task.
            StorageError: the settings are invalid.
        """
        return self._trained_with(name).tasks[0].settings

    def load(self, name: str) -> LoadedTask:
        """Return a task in memory: its tensors, and the method that loads them into a network.

        Raises:
            SettingsError: the bundle has no such task.
            StorageError: the header does not fit the tensors.
        """
        entry, trained = self.entry(name), self._trained_with(name)
        method: Method = method_class(entry.method)(trained.method_settings)
        stored = {key: tensor for part in entry.parts for key, tensor in self._parts[part].items()}
        tensors = self.file.decoded(entry, stored)
        base = self._parts[BASE] if entry.base_sha256 else {}
        loaded = LoadedTask(self.file.path, trained.network, method, base, tensors, unusable)
        loaded.check_head(entry.head_channels)
        self._check_size(trained.network, entry)
        return loaded

    def switcher(self, device: torch.device | str = "cpu") -> TaskSwitcher:
        """Return one network that switches between all tasks in milliseconds.

        Raises:
            StorageError: tensors of a task are missing or do not fit.
        """
        return TaskSwitcher({name: self.load(name) for name in self.tasks}, device)

    def translator(self, task: str, device: torch.device | None = None) -> Translator:
        """Return the translator of a task; ``device`` is by default a GPU if there is one.

        Raises:
            SettingsError: the bundle has no such task.
            StorageError: tensors of the task are missing or do not fit.
        """
        network = self.load(task).build()
        return translator_of(network, self.task(task), self.entry(task).size, device or device_for("auto"))

    def save(self, path: Path) -> str:
        """Write the bundle to a file, atomically; return its SHA-256."""
        return save_bundle(path, self.file.header, self.file.parts)

    def entry(self, name: str) -> TaskEntry:
        """Return the header's entry of a task.

        Raises:
            SettingsError: the bundle has no such task.
        """
        return self.entries[check_name(name, self.entries, f"task of {self.file.path}")]

    def _trained_with(self, name: str) -> TrainedWith:
        """Return the settings of a task, its method and its network from the header."""
        entry = self.entry(name)
        values = {
            "method": entry.method,
            "method_settings": entry.method_settings,
            "network": self.file.header.network,
            "tasks": [{"name": name, "settings": entry.settings, "pictures": {"size": entry.size}}],
        }
        if entry.method not in METHODS and entry.method not in BASES:
            raise unusable(self.file.path, f"the task {name!r} has the unknown method {entry.method!r}")
        return TrainedWith.read(self.file.path, values, unusable)

    def _check_size(self, network: NetworkSettings, entry: TaskEntry) -> None:
        """Check that the file has about as many values as the network of its header.

        A header that claims a network of another width would otherwise take all memory.
        """
        if network.width <= SMALL:
            return
        try:
            values = number_of_values(network, entry.head_channels)
        except PalimpsestError as error:
            raise unusable(self.file.path, f"the network of the header cannot be built ({error})") from error
        stored = self.file.number_of_values
        if values > 8 * stored:  # packed masks have eight weights in a value
            raise unusable(self.file.path, f"the network of the header has {values} values, the file has {stored}")


SMALL = 128
"""Width up to which a network is built without a check of its size; the study's U-Net then takes 226 MiB."""


def number_of_values(settings: NetworkSettings, head_channels: int) -> int:
    """Return the number of values of a network, without taking their memory; for some networks an estimate."""
    network = outline(settings, head_channels)
    if network is not None:
        return size_of(network)
    narrow = settings.model_copy(update={"width": SMALL // 8})
    return round(size_of(build_network(narrow, head_channels)) * (settings.width / narrow.width) ** 2)


def size_of(network: nn.Module) -> int:
    """Return the number of values in the tensors of a network."""
    return sum(int(tensor.numel()) for tensor in network.state_dict().values())


def open_bundle(path: Path | str) -> Bundle:
    """Open a bundle and verify its checksums.

    Raises:
        StorageError: the file is missing, damaged, of a newer format, or no bundle.
    """
    return Bundle(load_bundle(Path(path)))


def in_float32(part: State) -> dict[str, Tensor]:
    """Return tensors with those of float16 in float32."""
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in part.items()}


def pixels_of(picture: object) -> tuple[Pixels, str]:
    """Return a picture as an array, uint8 (H, W, 3) RGB, and its name for errors.

    A picture of Pillow is converted as its file: by its EXIF orientation, over white, and from its full range.

    Raises:
        DataError: the file or picture cannot be read, or ``picture`` is of another type or empty.
    """
    if isinstance(picture, str | os.PathLike):
        return read_picture(picture, Limits(key="")), os.fspath(picture)
    name = "the picture"
    if isinstance(picture, Image.Image):
        return picture_pixels(picture, name, Limits(key="")), name
    if not isinstance(picture, np.ndarray):
        type_name = type(picture).__name__
        raise DataError(f"{name}: expected a path, a picture of Pillow or an array, found {type_name}; convert it")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise DataError(
            f"{name}: expected uint8 (H, W, 3) with pixels, found {picture.dtype} {picture.shape}; convert it"
        )
    return picture, name
