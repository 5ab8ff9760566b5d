"""Data and settings of a task that is added to a bundle, from a few paths."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from palimpsest.adding import template_of
from palimpsest.bundle import Bundle
from palimpsest.data.coco import INDEX
from palimpsest.data.formats import AnyDataset
from palimpsest.data.reader import DatasetReader
from palimpsest.data.sources import open_dataset
from palimpsest.errors import DataError, SettingsError
from palimpsest.evaluation import layout_of
from palimpsest.tasks import KINDS, AnyTask
from palimpsest.tasks.settings import TaskSettings

CLASS_BALANCE = 0.5
"""`class_balance` of a segmentation: without it, short trainings leave rare classes to the background."""


@dataclass(frozen=True)
class NewData:
    """Paths that name the data of a new task."""

    kind: str
    folders: Sequence[Path]
    """One folder, or the folders of inputs and of targets."""
    annotations: Path | None = None
    """COCO annotations of the pictures in the folder."""
    classes: Sequence[str] = ()
    """Categories of a segmentation or classification; empty for all of the data set."""
    painting: Path | None = None
    weights: Path | None = None
    """Weights of the perceptual network of a style."""


def open_data(data: NewData, links: Path) -> DatasetReader:
    """Return the reader of the data; ``links`` is a folder for links that bring them into a known layout.

    Raises:
        DataError: a path does not exist, or the layout of a folder is unknown.
    """
    for path in [*data.folders, data.annotations, data.painting, data.weights]:
        if path is not None and not path.exists():
            raise DataError(f"{path}: no such file or folder; correct the path")
    root = data.folders[0]
    if len(data.folders) == 2:
        layout, root = "paired", linked(links, {"input": data.folders[0], "target": data.folders[1]})
    elif data.annotations is not None:
        layout = "coco"
        root = linked(links, {"train2017": root, f"annotations/{INDEX['train']}": data.annotations})
    elif KINDS[data.kind].target is None:
        layout = "pictures"
    else:
        layout = layout_of(root)
    return open_dataset(
        TypeAdapter(AnyDataset).validate_python({"format": layout, "source": "directory", "root": root}), root
    )


def linked(folder: Path, targets: dict[str, Path]) -> Path:
    """Make a folder of links with these names to files or folders; return the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, target in targets.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.resolve())
    return folder


def task_settings(bundle: Bundle, data: NewData, method: str, reader: DatasetReader) -> TaskSettings:
    """Return the settings of the new task; a task of the bundle of the same kind gives all that the data do not.

    Raises:
        SettingsError: a setting is invalid.
    """
    template = template_of(bundle, data.kind, method)
    values: dict[str, Any] = dict(template.settings) if template.kind == data.kind else {}
    values |= {"kind": data.kind, "data": "new", "additional_pictures": {}, "images": {}}
    values["splits"] = {"train": "train", "val": "val"}
    if data.kind in ("segmentation", "classification"):
        names = [name.strip() for name in data.classes] or list(reader.categories)
        values |= {"classes": {name: [name] for name in names}}
    if data.kind == "segmentation":
        values |= {"class_balance": values.get("class_balance") or CLASS_BALANCE}
    if data.painting is not None:
        values |= {"picture": data.painting}
    if data.weights is not None:
        values |= {"weights": data.weights}
    try:
        settings: TaskSettings = TypeAdapter(AnyTask).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingsError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    return settings
