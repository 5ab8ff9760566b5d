"""Kinds of tasks: the one table in which a new kind is entered. A new task of a known kind needs no code."""

from importlib import import_module
from typing import TYPE_CHECKING

from palimpsest.settings import AnyTask

if TYPE_CHECKING:
    from palimpsest.tasks.base import Task

KINDS = {
    "segmentation": "palimpsest.tasks.segmentation:SegmentationTask",
    "colorization": "palimpsest.tasks.colorization:ColorizationTask",
    "style": "palimpsest.tasks.style:StyleTask",
    "paired": "palimpsest.tasks.paired:PairedTask",
    "reconstruction": "palimpsest.tasks.reconstruction:ReconstructionTask",
}
"""``module:class`` of each kind, imported when a task of that kind is built and not before."""


def kind_of_task(kind: str) -> "type[Task]":
    """The class of a kind, which knows what has to be prepared without being built."""
    module, _, attribute = KINDS[kind].partition(":")
    found: type[Task] = getattr(import_module(module), attribute)
    return found


def build_task(name: str, settings: AnyTask) -> "Task":
    """The task of this name, on the CPU."""
    return kind_of_task(settings.kind)(name, settings)
