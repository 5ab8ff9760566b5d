"""Measurement of one task of a bundle on a folder of pictures, as the study measures it."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from palimpsest.analysis.measurement import Measurement, measure
from palimpsest.bundle import Bundle
from palimpsest.data.arrays import Prepared
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import DatasetReader, SampleSpec, ValueScale
from palimpsest.data.sources import task_classes
from palimpsest.data.user_data import NO_LIMIT_KEY, UserData, open_user_data, split_of_all
from palimpsest.devices import device_for
from palimpsest.storage.bundle_header import TaskEntry
from palimpsest.tasks import KINDS, build_task, task_class
from palimpsest.tasks.settings import TaskSettings
from palimpsest.tasks.style_files import NO_FILES, StyleFiles, check_files
from palimpsest.translation import translator_of

log = logging.getLogger(__name__)

HELD_OUT = "held_out"
"""Setting of a task that `palimpsest add-task` learned: the fraction of its pictures that it holds out."""


@dataclass(frozen=True)
class Evaluation:
    """Measurement of a task on the user's data."""

    measured: Measurement
    split: str
    """Split of the data."""
    whole: bool
    """True if the data have no splits, and all pictures were measured."""
    left_out: int
    """Number of pictures that are not measured, because they are broken or unsuitable."""


def evaluate(
    bundle: Bundle,
    name: str,
    data: UserData,
    *,
    split: str | None = None,
    files: StyleFiles = NO_FILES,
    device: torch.device | None = None,
) -> Evaluation:
    """Return the metrics of a task on all pictures of a split of the user's data.

    The pictures are prepared as for the study: centred squares of the size in training. ``split`` is by default
    that of the task's validation; data without splits, as a folder of pictures, are measured whole. Of pairs
    without splits, those are measured that the training held out. ``files`` replace those in the settings of a
    style.

    Raises:
        SettingsError: the bundle has no such task, the data lack a category of the task, or it uses no such files.
        DataError: the data have no such split, too many broken pictures, or targets of another type; or a file of
            the style is missing, or the memory does not suffice for pictures of the task's size.
    """
    entry = bundle.entry(name)
    settings = files.of_learned(name, bundle.settings(name))
    check_files(settings)
    task = build_task(name, settings)
    reader = open_user_data(data, KINDS[entry.kind].target, exact=HELD_OUT in entry.origin.settings)
    whole = split_of_all(reader)
    chosen = split or whole or settings.splits["val"]
    spec = sample_spec(settings, entry.size, [chosen], reader)
    device = device or device_for("auto")
    translator = translator_of(bundle.load(name).build(), task, entry.size, device)
    translator.check_memory(entry.size, entry.size, entry.size, bundle.file.path)
    with tempfile.TemporaryDirectory() as temporary:
        arrays = prepare_user_data(reader, Path(temporary) / "prepared", {"val": (chosen, None)}, spec, entry.kind)
        with threads_of(entry):
            measured = measure(translator.predictor.predict, task, arrays, device, samples=0)
    return Evaluation(measured, chosen, chosen == whole, len(arrays.info["left_out"]))


def prepare_user_data(
    reader: DatasetReader, folder: Path, splits: dict[str, tuple[str, int | None]], spec: SampleSpec, kind: str
) -> Prepared:
    """Prepare the user's data for a task of a kind in a folder; the parameters are those of `prepare`.

    Raises:
        DataError: a split has no usable picture or too many broken ones.
    """
    prepare(
        reader,
        folder,
        splits,
        spec,
        refuse=task_class(kind).refuse,
        log=log.info,
        every_class=False,
        names_settings=False,
    )
    return Prepared.open(folder)


def sample_spec(settings: TaskSettings, size: int, splits: Sequence[str], reader: DatasetReader) -> SampleSpec:
    """Return what a task needs of the samples of the user's data: size in pixels, targets, classes and units.

    ``splits`` are those of the data set that are read.

    Raises:
        SettingsError: the data set lacks a category of the task.
    """
    options: dict[str, Any] = settings.preparation()
    classes = None
    if options.get("classes") is not None:
        classes = task_classes("", options["classes"], options["others"], splits, reader)
    values = ValueScale(options.get("scale", 1.0), options.get("valid"))
    return SampleSpec(size, KINDS[settings.kind].target, classes, NO_LIMIT_KEY, values)


@contextmanager
def threads_of(entry: TaskEntry) -> Iterator[None]:
    """Run a block with as many threads as the study's measurement: their number decides the last bit of a sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(entry.origin.settings.get("training", {}).get("threads", before)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
