"""Table of the kinds of tasks; a new kind adds one row. A new task of a known kind needs no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, SerializeAsAny

from palimpsest.data.targets import LABELS, PICTURE, VALUES, Target
from palimpsest.errors import unknown_name
from palimpsest.metrics.metric import METRICS, Metric
from palimpsest.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from palimpsest.tasks.base import Task


@dataclass(frozen=True)
class Kind:
    """Row of `KINDS`: classes of a kind of task, each as ``module:class``, and properties that need no PyTorch."""

    task: str
    """Class of the task; imported only to build one, because it needs PyTorch."""
    settings: str
    """Class of the settings; its module imports no PyTorch."""
    target: Target | None
    """Type of the targets, which a data set's format has to offer. None if the picture is its own target: then
    every format suffices."""
    headlines: tuple[str, ...]
    """Names of the metrics in the tables of the report."""
    key_metric: str
    """Name of the metric that represents a task in comparisons of methods."""
    in_short: tuple[str, ...] = ()
    """Names of the metrics in narrow tables."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Descriptions by name of metrics that only this kind has, or that differ from `METRICS` for this kind."""


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
        key_metric="ciede2000",  # a grey copy already has a high SSIM
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
    "classification": Kind(
        "palimpsest.tasks.classification:ClassificationTask",
        "palimpsest.tasks.classification_settings:ClassificationSettings",
        target=LABELS,
        headlines=("accuracy",),
        key_metric="accuracy",
        in_short=("accuracy",),
        metrics={
            "accuracy": Metric(
                "accuracy",
                "%",
                "higher",
                1,
                "share of photographs whose class, that of the largest area, is predicted",
            )
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


def task_class(kind: str) -> "type[Task]":
    """Return the class of the tasks of a kind, such as `SegmentationTask`."""
    task: type[Task] = resolve_name(KINDS[kind].task)
    return task


def build_task(name: str, settings: TaskSettings) -> "Task":
    """Build the task ``name`` on the CPU."""
    return task_class(settings.kind)(name, settings)


def _validated(value: object) -> object:
    if isinstance(value, TaskSettings) or not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind: {unknown_name(kind, KINDS, 'kind')}")
    return resolve_name(KINDS[kind].settings).model_validate(value)


AnyTask = Annotated[SerializeAsAny[TaskSettings], BeforeValidator(_validated)]
"""Type of a settings field with the settings of one task of any kind."""
