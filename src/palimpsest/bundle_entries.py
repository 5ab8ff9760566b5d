"""Entries in the header of a bundle, for the modules that make bundles: `bundling` and `adding`."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from palimpsest.data.voc import palette
from palimpsest.methods.base import Component, State
from palimpsest.methods.settings import MethodSettings
from palimpsest.storage.bundle_file import BASE, TASKS
from palimpsest.storage.bundle_header import Origin, Quality, TaskEntry
from palimpsest.tasks.base import Task
from palimpsest.tasks.settings import TaskSettings

Dtype = Literal["float32", "float16"]
"""Type of the weights in a file."""
INPUT: dict[str, Any] = {"channels": "RGB", "range": [0, 1]}
"""Pictures that every network expects; a network with a backbone normalises them itself."""


def task_entry(
    task: Task,
    settings: TaskSettings,
    *,
    size: int,
    method: str,
    method_settings: MethodSettings | None,
    coded: Mapping[str, list[int]],
    components: Mapping[str, int],
    parts: Sequence[str],
    origin: Origin,
) -> TaskEntry:
    """Return the entry of a task, without `base_sha256` and `quality`.

    ``size`` is that of the pictures in training; ``coded`` are the shapes of coded tensors of bits, and
    ``components`` the bytes of each component, in the task's own part; ``parts`` are further parts with tensors of
    the task.
    """
    classes = task.classes
    return TaskEntry(
        name=task.name,
        kind=settings.kind,
        settings=without_folders(settings.model_dump(mode="json")),
        size=size,
        working_scale=task.working_scale,
        head_channels=task.head_channels,
        classes=classes,
        palette=[tuple(colour) for colour in palette()[: len(classes)].tolist()] if classes else None,
        method=method,
        method_settings=None if method_settings is None else method_settings.model_dump(mode="json"),
        base_sha256=None,
        parts=[*parts, f"{TASKS}{task.name}"],
        coded=dict(coded),
        components=dict(components),
        origin=origin,
    )


def quality_of(split: str, images: int, metrics: Mapping[str, float]) -> Quality:
    """Return the entry of the metrics that have a value, measured on so many pictures of a split."""
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    return Quality(split=split, images=images, metrics=finite)


def component_sizes(components: Iterable[Component], tensors: State) -> dict[str, int]:
    """Return the bytes of each component among the ``tensors`` of a task; others are the base network's."""
    component_of = {name: part.name for part in components for name in part.tensors}
    sizes: Counter[str] = Counter()
    for name, tensor in tensors.items():
        sizes[component_of.get(name, BASE)] += tensor.nbytes
    return dict(sorted(sizes.items()))


def without_folders(value: Any) -> Any:
    """Return JSON values with the name of a file in place of an absolute path, which means nothing elsewhere."""
    if isinstance(value, dict):
        return {key: without_folders(content) for key, content in value.items()}
    if isinstance(value, list):
        return [without_folders(content) for content in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def with_dtype(part: State, dtype: Dtype) -> dict[str, Tensor]:
    """Return tensors with float32 weights, of two dimensions or more, in another type."""
    wide = torch.float32 if dtype == "float32" else torch.float16
    return {
        name: tensor.to(wide) if tensor.dtype == torch.float32 and tensor.ndim >= 2 else tensor
        for name, tensor in part.items()
    }
