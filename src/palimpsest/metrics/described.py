"""Meaning, direction, unit and digits of metrics by name, without arrays and PyTorch.

Properties of the kinds of tasks come from `palimpsest.tasks.KINDS`.
"""

import math
from collections.abc import Iterable

from palimpsest.metrics.metric import METRICS, Metric
from palimpsest.tasks import KINDS

ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1", "": ""}
"""Symbol of each value of `Metric.better`."""


def describe(name: str, kind: str = "") -> Metric:
    """Return the description of a metric for a task of this kind; an unknown name gets a generic description.

    With an unknown or empty kind the first description under this name is returned.
    """
    if kind in KINDS and name in KINDS[kind].metrics:
        return KINDS[kind].metrics[name]
    if name in METRICS:
        return METRICS[name]
    if name.startswith("iou/"):
        label = f"IoU {name.removeprefix('iou/')}"
        return Metric(label, "%", "higher", 2, "intersection over union of one class")
    for row in KINDS.values():
        if name in row.metrics:
            return row.metrics[name]
    if name.endswith("_loss"):
        return Metric(name.replace("_", " "), "", "lower", None, "one part of the total loss")
    return Metric(name, "", "", None, "as the task defines it")


def kind_measured_by(measured: Iterable[str]) -> str:
    """Return the kind of task that has these metrics, for tables that do not name it; empty if none fits.

    A kind fits if its key metric is in ``measured``. If several fit, the result is the one with the most headline
    metrics in ``measured``.
    """
    present = set(measured)
    fitting = [kind for kind, row in KINDS.items() if row.key_metric in present]
    return max(fitting, key=lambda kind: len(present.intersection(KINDS[kind].headlines)), default="")


def headlines(kind: str, measured: Iterable[str]) -> list[str]:
    """Return the names of the measured metrics that tables of the report show, in the order of the tables.

    For an unknown kind these are all measured metrics except those of single classes.
    """
    present = dict.fromkeys(measured)
    names = KINDS[kind].headlines if kind in KINDS else [name for name in present if "/" not in name]
    return [name for name in names if name in present]


def in_short(measured: Iterable[str]) -> list[str]:
    """Return the names of the measured metrics that narrow tables show; empty if no kind of task has them."""
    present = set(measured)
    kind = kind_measured_by(present)
    return [name for name in KINDS[kind].in_short if name in present] if kind else []


def metric_title(metric: Metric) -> str:
    """Return the title of a metric in tables, with unit and direction: `mIoU (%) ↑`."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.label}{unit} {ARROWS[metric.better]}".rstrip()


def forgetting_metrics(kind: str, measured: Iterable[str]) -> list[str]:
    """Return the names of the metrics in tables of forgetting.

    They are the first two headline metrics of which a higher or a lower value is better.
    """
    directed = [name for name in headlines(kind, measured) if describe(name, kind).better in ("higher", "lower")]
    return directed[:2]


def badness(metric: Metric, value: float) -> float | None:
    """Return a number that is smaller the better the value is; None for a metric without direction."""
    return {"higher": -value, "lower": value, "one": abs(value - 1), "": None}[metric.better]


def decimals(metric: Metric, value: float) -> int:
    """Return the number of decimals of a value in tables: `Metric.digits`, or that of four significant digits."""
    if metric.digits is not None:
        return metric.digits
    return min(6, max(0, 3 - math.floor(math.log10(abs(value))))) if value else 3


def rounded(metric: Metric, value: float, mean: float | None = None) -> float:
    """Return a value rounded to its decimals in tables (`decimals`).

    mean: None, or the mean whose standard deviation `value` is; the decimals are then those of the mean.
    """
    return round(value, decimals(metric, value if mean is None else mean))


def format_value(metric: Metric, value: float, mean: float | None = None) -> str:
    """Return a value as text with its decimals in tables: `95.10`, `0.9138`, `413,833`; `mean` as in `rounded`."""
    return f"{value:,.{decimals(metric, value if mean is None else mean)}f}"
