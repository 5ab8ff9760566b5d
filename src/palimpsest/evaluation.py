"""Measurement of one task of a bundle on a folder of pictures, as the study measures it."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from palimpsest.analysis.measurement import Measurement, measure
from palimpsest.bundle import Bundle
from palimpsest.data.arrays import Prepared
from palimpsest.data.formats import FORMATS, AnyDataset
from palimpsest.data.pictures import DEFAULT_LIMITS
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import DatasetReader, SampleSpec, ValueScale
from palimpsest.data.sources import open_dataset, task_classes
from palimpsest.devices import device_for
from palimpsest.errors import DataError
from palimpsest.inference import Predictor
from palimpsest.storage.bundle_file import TaskEntry
from palimpsest.tasks import KINDS, task_class
from palimpsest.tasks.settings import TaskSettings

log = logging.getLogger(__name__)

SIGNS: dict[str, tuple[str, ...]] = {
    "coco": ("annotations/*2017.json", "val2017", "train2017"),
    "voc": ("VOCdevkit/VOC2012/ImageSets", "VOC2012/ImageSets", "ImageSets/Segmentation"),
}
"""Files by which a layout is recognised; a folder with none of them is taken for pairs of pictures."""


def evaluate(
    bundle: Bundle,
    name: str,
    folder: Path,
    *,
    layout: str | None = None,
    split: str | None = None,
    device: torch.device | None = None,
) -> Measurement:
    """Return the metrics of a task on all pictures of a split in a folder in COCO, VOC or paired layout.

    The pictures are prepared as for the study: centred squares of the size in training. ``layout`` is a key of
    `FORMATS`, by default recognised by the files; ``split`` is by default that of the task's validation.

    Raises:
        SettingsError: the bundle has no such task, or the folder lacks a category of the task.
        DataError: the folder has no such split, too many broken pictures, or targets of another type.
    """
    entry, task = bundle.entry(name), bundle.task(name)
    settings, target = bundle.settings(name), KINDS[entry.kind].target
    layout = layout or layout_of(folder)
    if not FORMATS[layout].serves(target):
        kind = target.name if target else "no"
        raise DataError(f"{folder}: the layout {layout} has no {kind} targets for {name}; name another folder")
    dataset = TypeAdapter(AnyDataset).validate_python({"format": layout, "source": "directory", "root": folder})
    reader = open_dataset(dataset, folder)
    chosen = split or settings.splits["val"]
    spec = sample_spec(name, settings, entry.size, [chosen], reader)
    device = device or device_for("auto")
    predictor = Predictor(bundle.network(name).to(device), task.to(device))
    with tempfile.TemporaryDirectory() as temporary:
        arrays = Path(temporary) / "prepared"
        refuse = task_class(entry.kind).refuse
        prepare(reader, arrays, {"val": (chosen, None)}, spec, refuse=refuse, log=log.info, every_class=False)
        with threads_of(entry):
            return measure(predictor.predict, task, Prepared.open(arrays), device, samples=0)


def sample_spec(
    name: str, settings: TaskSettings, size: int, splits: Sequence[str], reader: DatasetReader
) -> SampleSpec:
    """Return what a task needs of the samples of a data set: size in pixels, targets, classes and units.

    ``splits`` are those of the data set that are read.

    Raises:
        SettingsError: the data set lacks a category of the task.
    """
    options: dict[str, Any] = settings.preparation()
    classes = None
    if options.get("classes") is not None:
        classes = task_classes(name, options["classes"], options["others"], splits, reader)
    values = ValueScale(options.get("scale", 1.0), options.get("valid"))
    return SampleSpec(size, KINDS[settings.kind].target, classes, DEFAULT_LIMITS, values)


@contextmanager
def threads_of(entry: TaskEntry) -> Iterator[None]:
    """Run a block with as many threads as the study's measurement: their number decides the last bit of a sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(entry.origin.settings.get("training", {}).get("threads", before)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def layout_of(folder: Path) -> str:
    """Return the layout of a folder, recognised by its files: ``coco``, ``voc`` or ``paired``.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; correct the path")
    for layout, signs in SIGNS.items():
        if any(next(folder.glob(sign), None) for sign in signs):
            return layout
    return "paired"
