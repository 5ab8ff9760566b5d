import pandas as pd
import pytest

SEQUENCE = [("coco-seg", "segmentation"), ("colorize", "colorization"), ("style-gogh", "style")]
METHODS = ["fine-tune", "piggyback"]

COLUMNS = ["seed", "method", "task", "after", "metric", "value", "images", "checksum"]


def measured(method, task, after, values, checksum):
    return [[0, method, task, after, metric, value, 8, checksum] for metric, value in values.items()]


@pytest.fixture
def sequence():
    return SEQUENCE


@pytest.fixture
def methods():
    return METHODS


@pytest.fixture
def metrics():
    """One seed: fine-tune forgets the first two tasks, piggyback none."""
    colour = {"ssim": 0.9, "mse": 200.0, "ciede2000": 10.0, "colourfulness": 0.6}
    grey = {"ssim": 0.95, "mse": 600.0, "ciede2000": 13.0, "colourfulness": 0.0}
    style = {"total_loss": 2.0, "content_loss": 0.5, "style_loss": 1.5, "ssim": 0.4}
    rows = [
        *measured("floor", "coco-seg", "coco-seg", {"miou": 10.0}, "f1"),
        *measured("floor", "colorize", "colorize", grey, "f2"),
        *measured("floor", "style-gogh", "style-gogh", {"total_loss": 7.0, "ssim": 1.0}, "f3"),
        *measured("fine-tune", "coco-seg", "coco-seg", {"miou": 90.0, "iou/sky": 90.0}, "a1"),
        *measured("fine-tune", "coco-seg", "colorize", {"miou": 45.0, "iou/sky": 45.0}, "a2"),
        *measured("fine-tune", "coco-seg", "style-gogh", {"miou": 9.0, "iou/sky": 9.0}, "a3"),
        *measured("fine-tune", "colorize", "colorize", {**colour, "mse": 180.0}, "b1"),
        *measured("fine-tune", "colorize", "style-gogh", {**colour, "mse": 720.0}, "b2"),
        *measured("fine-tune", "style-gogh", "style-gogh", {**style, "total_loss": 1.75}, "c1"),
        *measured("piggyback", "coco-seg", "coco-seg", {"miou": 90.0, "iou/sky": 90.0}, "a1"),
        *measured("piggyback", "coco-seg", "colorize", {"miou": 90.0, "iou/sky": 90.0}, "a1"),
        *measured("piggyback", "coco-seg", "style-gogh", {"miou": 90.0, "iou/sky": 90.0}, "a1"),
        *measured("piggyback", "colorize", "colorize", colour, "d1"),
        *measured("piggyback", "colorize", "style-gogh", colour, "d1"),
        *measured("piggyback", "style-gogh", "style-gogh", style, "e1"),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def sizes():
    mib = 2**20
    rows = [
        [0, "fine-tune", "coco-seg", "network", 4 * mib, "run"],
        [0, "fine-tune", "style-gogh", "batchnorm", 1024, "run"],
        [0, "fine-tune", "style-gogh", "optimizer", 3 * mib, "learn"],
        [0, "piggyback", "coco-seg", "network", 4 * mib, "run"],
        [0, "piggyback", "colorize", "mask", mib // 8, "run"],
        [0, "piggyback", "colorize", "head", 512, "run"],
        [0, "piggyback", "style-gogh", "mask", mib // 8, "run"],
        [0, "piggyback", "style-gogh", "metadata", 512, "run"],
    ]
    return pd.DataFrame(rows, columns=["seed", "method", "task", "component", "bytes", "needed_to"])
