"""Kinds of tasks: the one table in which a new kind is entered. A new task of a known kind needs no code."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, SerializeAsAny

from palimpsest.errors import nearest
from palimpsest.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from palimpsest.tasks.base import Task


@dataclass(frozen=True)
class Kind:
    """Classes of one kind of task, each as ``module:class``."""

    task: str
    """Imported when a task of the kind is built and not before, since it needs PyTorch."""
    settings: str


KINDS = {
    "segmentation": Kind(
        "palimpsest.tasks.segmentation:SegmentationTask",
        "palimpsest.tasks.segmentation_settings:SegmentationSettings",
    ),
    "colorization": Kind(
        "palimpsest.tasks.colorization:ColorizationTask",
        "palimpsest.tasks.colorization_settings:ColorizationSettings",
    ),
    "style": Kind("palimpsest.tasks.style:StyleTask", "palimpsest.tasks.style_settings:StyleSettings"),
    "paired": Kind("palimpsest.tasks.paired:PairedTask", "palimpsest.tasks.paired_settings:PairedSettings"),
    "reconstruction": Kind(
        "palimpsest.tasks.reconstruction:ReconstructionTask",
        "palimpsest.tasks.reconstruction_settings:ReconstructionSettings",
    ),
}


def kind_of_task(kind: str) -> "type[Task]":
    """Return the class of a kind, which knows what has to be prepared without being built."""
    found: type[Task] = resolve_name(KINDS[kind].task)
    return found


def build_task(name: str, settings: TaskSettings) -> "Task":
    """Return the task of this name, on the CPU."""
    return kind_of_task(settings.kind)(name, settings)


def _checked(value: object) -> object:
    if isinstance(value, TaskSettings) or not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if kind not in KINDS:
        found = "none is given" if kind is None else f"there is no kind {kind!r}"
        raise ValueError(f"kind: {found}{nearest(str(kind), KINDS)}")
    return resolve_name(KINDS[kind].settings).model_validate(value)


AnyTask = Annotated[SerializeAsAny[TaskSettings], BeforeValidator(_checked)]
"""Type of a field that holds the settings of one task of any kind."""
