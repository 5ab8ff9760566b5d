"""How metrics are read and written: what each means, which way is better, its unit and digits.

Of names alone, so that it needs neither arrays nor PyTorch.
"""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """How a metric is written and read. `better`: what is better; "one" is nearest to 1, "" is neither."""

    label: str
    unit: str
    better: Literal["higher", "lower", "one", ""]
    digits: int | None  # decimals; None for four significant digits, where the scale is not known beforehand
    meaning: str


METRICS = {
    "miou": Metric(
        "mIoU",
        "%",
        "higher",
        2,
        "mean intersection over union: pixels on which prediction and truth agree about a class, divided by "
        "those that either gives to it; one confusion matrix over the whole split, mean over the classes in "
        "the truth",
    ),
    "ssim": Metric(
        "SSIM",
        "",
        "higher",
        4,
        "structural similarity to the target, 1 for equal pictures (Wang et al. 2004; Gaussian window, "
        "σ = 1.5). A grey copy of a colour photograph already scores high. For a style it is the similarity "
        "to the photograph, and neither high nor low is better: the untouched photograph scores 1",
    ),
    "mse": Metric("MSE", "", "lower", 2, "mean squared error over pixels and channels, on the 0–255 scale"),
    "ciede2000": Metric(
        "CIEDE2000",
        "ΔE",
        "lower",
        2,
        "perceived colour difference, mean over pixels; about 1 is where a trained eye begins to see one",
    ),
    "colourfulness": Metric(
        "colourfulness",
        "",
        "one",
        3,
        "Hasler & Süsstrunk's colourfulness as a share of the truth's: 0 is grey, 1 is like the truth",
    ),
    "total_loss": Metric(
        "total loss",
        "",
        "lower",
        None,
        "content, style, smoothness and grid losses with the weights of the settings; comparable only under the "
        "same settings and perceptual network",
    ),
}

# The metrics that head each kind of task. A kind that is not here shows every metric it was measured by.
HEADLINES = {
    "segmentation": ("miou",),
    "colorization": ("ssim", "mse", "ciede2000", "colourfulness"),
    "style": ("total_loss", "ssim"),
    "paired": ("ssim", "mse"),
}


IN_SHORT = ("miou", "ssim", "ciede2000", "total_loss")
"""The metrics of a task that a table of many methods or variants has room for."""

ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1", "": ""}
"""What stands for which way is better."""


def describe(name: str, kind: str = "") -> Metric:
    """The description of any metric name, known or not, for a task of this kind."""
    if name == "ssim" and kind == "style":
        return METRICS["ssim"]._replace(label="SSIM to the photograph", better="")
    if name.startswith("iou/"):
        label = f"IoU {name.removeprefix('iou/')}"
        return Metric(label, "%", "higher", 2, "intersection over union of one class")
    if name.endswith("_loss") and name not in METRICS:
        return Metric(name.replace("_", " "), "", "lower", None, "one part of the total loss")
    return METRICS.get(name, Metric(name, "", "", None, "as the task defines it"))


def headlines(kind: str, measured: Iterable[str]) -> list[str]:
    """The metrics of a task that stand in the tables, in their order; only those that were measured."""
    present = dict.fromkeys(measured)
    wanted = HEADLINES.get(kind) or [name for name in present if "/" not in name]
    return [name for name in wanted if name in present]


def in_short(measured: Iterable[str]) -> list[str]:
    """Those of a task that stand in tables with little room; a style's SSIM, neither better nor worse, does not."""
    present = set(measured)
    return [name for name in IN_SHORT if name in present and not (name == "ssim" and "total_loss" in present)]


def titled(metric: Metric) -> str:
    """A metric with its unit and which way is better: `mIoU (%) ↑`."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.label}{unit} {ARROWS[metric.better]}".rstrip()


def forgetting_metrics(kind: str, measured: Iterable[str]) -> list[str]:
    """The at most two headline metrics that say whether a task was forgotten."""
    directed = [name for name in headlines(kind, measured) if describe(name, kind).better in ("higher", "lower")]
    return directed[:2]


def badness(metric: Metric, value: float) -> float | None:
    """A number that is the smaller the better the value is; None where no value is better than another."""
    return {"higher": -value, "lower": value, "one": abs(value - 1), "": None}[metric.better]


def decimals(metric: Metric, value: float) -> int:
    """How many decimals a value is shown with; four significant digits where the metric has no say."""
    if metric.digits is not None:
        return metric.digits
    return min(6, max(0, 3 - math.floor(math.log10(abs(value))))) if value else 3


def rounded(metric: Metric, value: float, beside: float | None = None) -> float:
    """A value with just the digits that the tables show, so that a table made of it shows the same.

    beside: the mean, where the value is its standard deviation; it is written with the digits of the mean.
    """
    return round(value, decimals(metric, value if beside is None else beside))


def written(metric: Metric, value: float, beside: float | None = None) -> str:
    """A value as the tables show it: `95.10`, `0.9138`, `413,833`; `beside` as for `rounded`."""
    return f"{value:,.{decimals(metric, value if beside is None else beside)}f}"
