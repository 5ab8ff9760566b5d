"""Metrics that several kinds of tasks have, by their names in `metrics.csv`; without arrays and PyTorch."""

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """Label, unit and direction of a metric."""

    label: str
    unit: str
    better: Literal["higher", "lower", "one", ""]
    """`one`: the nearest to 1; empty where no value is better than another."""
    digits: int | None
    """Decimals; None for four significant digits, where the scale is not known beforehand."""
    meaning: str


METRICS: dict[str, Metric] = {
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
