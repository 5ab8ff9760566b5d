"""Descriptions of metrics that several kinds of tasks have; this module imports no PyTorch."""

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """Description of a metric, for tables and the report."""

    label: str
    unit: str
    """Empty for a metric without unit."""
    better: Literal["higher", "lower", "one", ""]
    """Direction: which values are better. ``one``: the nearest to 1; empty for a metric without direction."""
    digits: int | None
    """Number of decimals; None for four significant digits, if the scale is unknown."""
    meaning: str
    """Explanation in the glossary of the report."""
    logarithmic: bool = False
    """True for a loss whose trivial baseline is many times as large as the values of trained networks; relative
    quality then compares logarithms."""


METRICS: dict[str, Metric] = {
    "miou": Metric(
        "mIoU",
        "%",
        "higher",
        2,
        "mean intersection over union: for each class in the truth, pixels of the class in both prediction and "
        "truth divided by pixels of the class in either; one confusion matrix over the whole split",
    ),
    "ssim": Metric(
        "SSIM",
        "",
        "higher",
        4,
        "structural similarity to the target, 1 for equal pictures (Wang et al. 2004; Gaussian window, "
        "σ = 1.5). A grey copy of a colour photograph already scores high. For a style it is the similarity "
        "to the photograph and has no direction: the unchanged photograph scores 1",
    ),
    "mse": Metric("MSE", "", "lower", 2, "mean squared error over pixels and channels, on the 0–255 scale"),
    "ciede2000": Metric(
        "CIEDE2000",
        "ΔE",
        "lower",
        2,
        "perceived colour difference, mean over pixels; a difference of about 1 is just noticeable",
    ),
    "colourfulness": Metric(
        "colourfulness",
        "",
        "one",
        3,
        "Hasler & Süsstrunk's colourfulness divided by that of the truth: 0 is grey, 1 equals the truth",
    ),
    "total_loss": Metric(
        "total loss",
        "",
        "lower",
        None,
        "content, style, smoothness and grid losses with the weights of the settings; comparable only under the "
        "same settings and perceptual network",
        logarithmic=True,
    ),
}
"""Descriptions by name of the metric in `metrics.csv`."""
