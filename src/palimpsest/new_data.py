"""Settings of a task that is added to a bundle, from the data and a few options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from palimpsest.adding import template_of
from palimpsest.bundle import Bundle
from palimpsest.data.reader import DatasetReader
from palimpsest.errors import SettingsError
from palimpsest.tasks import AnyTask
from palimpsest.tasks.settings import TaskSettings
from palimpsest.tasks.style_files import NO_FILES, StyleFiles, check_files

CLASS_BALANCE = 0.5
"""`class_balance` of a segmentation: without it, short trainings leave rare classes to the background."""


@dataclass(frozen=True)
class NewData:
    """Options of a new task that concern its data."""

    kind: str
    classes: Sequence[str] = ()
    """Categories of a segmentation or classification; empty for all that are annotated."""
    files: StyleFiles = NO_FILES
    """Painting of a style, and weights of its perceptual network."""
    depths: tuple[float, float] | None = None
    """Smallest and largest depth; None for those of an old task."""
    scale: float | None = None
    """Units per stored number of depth; None for that of an old task."""


def task_settings(bundle: Bundle, data: NewData, method: str, reader: DatasetReader) -> TaskSettings:
    """Return the settings of the new task; a task of the bundle of the same kind gives all that the data do not.

    Raises:
        SettingsError: a setting is invalid.
        DataError: a file of a style is missing, unreadable or of another type.
    """
    template = template_of(bundle, data.kind, method)
    values: dict[str, Any] = dict(template.settings) if template.kind == data.kind else {}
    values |= {"kind": data.kind, "data": "new", "additional_pictures": {}, "images": {}}
    values["splits"] = {"train": "train", "val": "val"}
    if data.kind in ("segmentation", "classification"):
        values |= {"classes": {name: [name] for name in data.classes or annotated_categories(reader)}}
    if data.kind == "segmentation":
        values |= {"class_balance": values.get("class_balance") or CLASS_BALANCE}
    values |= data.files.of_new
    given = {"range": data.depths, "scale": data.scale}
    values |= {key: value for key, value in given.items() if value is not None}
    if data.kind == "depth" and "range" not in values:
        raise SettingsError("--range: is missing, and the bundle has no old task of depth; give it, as 0.5,10")
    try:
        settings: TaskSettings = TypeAdapter(AnyTask).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key, message = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{key}: {message}") from error
    check_files(settings)
    return settings


def annotated_categories(reader: DatasetReader) -> list[str]:
    """Return the categories with an annotation in the training pictures; all if the format does not count them."""
    counts = reader.annotated(["train"], [])
    return [name for name in reader.categories if not counts or counts[0][name]]
