"""Reading and writing of metrics: meaning, direction, unit and digits.

Works on names alone, without arrays and PyTorch. Facts of the kinds of tasks come from `palimpsest.tasks.KINDS`.
"""

import math
from collections.abc import Iterable

from palimpsest.metrics.metric import METRICS, Metric
from palimpsest.tasks import KINDS

ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1", "": ""}
"""Signs of the directions."""


def describe(name: str, kind: str = "") -> Metric:
    """Return the description of any metric name, known or not, for a task of this kind."""
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
    """Return the kind of task with these metrics, for tables that name no kinds; empty where none fits.

    Of the kinds whose key metric was measured, the one with the most headline metrics among them.
    """
    present = set(measured)
    fitting = [kind for kind, row in KINDS.items() if row.key_metric in present]
    return max(fitting, key=lambda kind: len(present.intersection(KINDS[kind].headlines)), default="")


def headlines(kind: str, measured: Iterable[str]) -> list[str]:
    """Return the metrics of a task that stand in the tables, in their order; only those that were measured.

    A kind that is not in the table shows every metric that it was measured by, without those of single classes.
    """
    present = dict.fromkeys(measured)
    chosen = KINDS[kind].headlines if kind in KINDS else [name for name in present if "/" not in name]
    return [name for name in chosen if name in present]


def in_short(measured: Iterable[str]) -> list[str]:
    """Return the metrics of a task that stand in tables with little room."""
    present = set(measured)
    kind = kind_measured_by(present)
    return [name for name in KINDS[kind].in_short if name in present] if kind else []


def titled(metric: Metric) -> str:
    """Return a metric with its unit and direction: `mIoU (%) ↑`."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.label}{unit} {ARROWS[metric.better]}".rstrip()


def forgetting_metrics(kind: str, measured: Iterable[str]) -> list[str]:
    """Return the at most two headline metrics that show whether a task was forgotten."""
    directed = [name for name in headlines(kind, measured) if describe(name, kind).better in ("higher", "lower")]
    return directed[:2]


def badness(metric: Metric, value: float) -> float | None:
    """Return a number that is the smaller the better the value is; None where no value is better than another."""
    return {"higher": -value, "lower": value, "one": abs(value - 1), "": None}[metric.better]


def decimals(metric: Metric, value: float) -> int:
    """Return the number of decimals of a value; four significant digits for a metric without a fixed number."""
    if metric.digits is not None:
        return metric.digits
    return min(6, max(0, 3 - math.floor(math.log10(abs(value))))) if value else 3


def rounded(metric: Metric, value: float, beside: float | None = None) -> float:
    """Return a value with just the digits that the tables show, so that a table made of it shows the same.

    beside: the mean, where the value is its standard deviation; it is written with the digits of the mean.
    """
    return round(value, decimals(metric, value if beside is None else beside))


def written(metric: Metric, value: float, beside: float | None = None) -> str:
    """Return a value as the tables show it: `95.10`, `0.9138`, `413,833`; `beside` as for `rounded`."""
    return f"{value:,.{decimals(metric, value if beside is None else beside)}f}"
