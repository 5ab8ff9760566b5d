"""Kinds of tasks: the one table in which a new kind is entered. A new task of a known kind needs no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, SerializeAsAny

from palimpsest.data.targets import LABELS, PICTURE, VALUES, Target
from palimpsest.errors import nearest
from palimpsest.metrics.metric import METRICS, Metric
from palimpsest.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from palimpsest.tasks.base import Task


@dataclass(frozen=True)
class Kind:
    """One kind of task: its classes, each as ``module:class``, and facts that are needed without PyTorch."""

    task: str
    """Imported when a task of the kind is built and not before, since it needs PyTorch."""
    settings: str
    target: Target | None
    """Form of the target beside each picture: a kind learns from data of every format that has such targets. None:
    the picture is its own target, and every format serves."""
    headlines: tuple[str, ...]
    """Metrics in the tables of the report."""
    key_metric: str
    """The one metric that a task is compared by between methods."""
    in_short: tuple[str, ...] = ()
    """Metrics in tables with little room."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Metrics that this kind alone has, or has another meaning for."""


KINDS: dict[str, Kind] = {
    "segmentation": Kind(
        "palimpsest.tasks.segmentation:SegmentationTask",
        "palimpsest.tasks.segmentation_settings:SegmentationSettings",
        target=LABELS,
        headlines=("miou",),
        key_metric="miou",
        in_short=("miou",),
    ),
    "colorization": Kind(
        "palimpsest.tasks.colorization:ColorizationTask",
        "palimpsest.tasks.colorization_settings:ColorizationSettings",
        target=None,
        headlines=("ssim", "mse", "ciede2000", "colourfulness"),
        key_metric="ciede2000",  # a grey copy has a high SSIM already
        in_short=("ssim", "ciede2000"),
    ),
    "style": Kind(
        "palimpsest.tasks.style:StyleTask",
        "palimpsest.tasks.style_settings:StyleSettings",
        target=None,
        headlines=("total_loss", "ssim"),
        key_metric="total_loss",
        in_short=("total_loss",),
        metrics={"ssim": METRICS["ssim"]._replace(label="SSIM to the photograph", better="")},
    ),
    "paired": Kind(
        "palimpsest.tasks.paired:PairedTask",
        "palimpsest.tasks.paired_settings:PairedSettings",
        target=PICTURE,
        headlines=("ssim", "mse"),
        key_metric="ssim",
        in_short=("ssim",),
    ),
    "depth": Kind(
        "palimpsest.tasks.depth:DepthTask",
        "palimpsest.tasks.depth_settings:DepthSettings",
        target=VALUES,
        headlines=("absrel", "rmse"),
        key_metric="absrel",
        in_short=("absrel",),
        metrics={
            "absrel": Metric("AbsRel", "", "lower", 4, "mean of |prediction − truth| ÷ truth over valid pixels"),
            "rmse": Metric("RMSE", "", "lower", None, "root of the mean squared error, in the unit of the target"),
        },
    ),
    "reconstruction": Kind(
        "palimpsest.tasks.reconstruction:ReconstructionTask",
        "palimpsest.tasks.reconstruction_settings:ReconstructionSettings",
        target=None,
        headlines=("ssim", "mse"),
        key_metric="ssim",
        in_short=("ssim",),
    ),
}


def kind_of_task(kind: str) -> "type[Task]":
    """Return the class of a kind."""
    task: type[Task] = resolve_name(KINDS[kind].task)
    return task


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
