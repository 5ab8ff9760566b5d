import json
import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from palimpsest.analysis.transfer import quality_table
from palimpsest.report.page import Origin, render
from palimpsest.report.tradeoff import COLUMN_FORMATS

SEQUENCE = [("coco-seg", "segmentation"), ("colorize", "colorization"), ("style-gogh", "style")]
METHODS = ["fine-tune", "piggyback"]

COLUMNS = ["seed", "method", "task", "after", "metric", "value", "images", "checksum", "std_error"]


CONDITIONS = {
    "pictures": {
        "coco-seg": {"side": 64, "train": 90, "dev": 10, "val": 8, "ignored": 0.125},
        "colorize": {"side": 64, "train": 90, "val": 4, "ignored": 0.0},
    },
    "measured": [{"device": "cpu", "processor": "Fast 3000", "instructions": "AVX2", "threads": "1"}],
    "steps": {"seg": 20, "colorize": 10},
    "trained": [{"device": "cpu", "processor": "Fast 3000", "instructions": "AVX2", "threads": "1"}],
    "trained_in": ["32-true"],
    "commits": ["0123456789abcdef"],
    "libraries": {"torch": ["2.14.1"], "numpy": ["2.4.6"]},
}


def measured(method, task, after, values, checksum):
    return [[0, method, task, after, metric, value, 8, checksum, math.nan] for metric, value in values.items()]


@pytest.fixture
def sequence():
    return SEQUENCE


@pytest.fixture
def methods():
    return METHODS


@pytest.fixture
def metrics():
    """Return metrics of one seed: fine-tune forgets the first two tasks, piggyback none."""
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
def seeds(metrics):
    """Return metrics of three seeds, whose values differ by a thousandth."""
    return pd.concat([metrics.assign(seed=seed, value=metrics["value"] * (1 + 0.001 * seed)) for seed in range(3)])


@pytest.fixture
def verification(metrics):
    """Return outcomes: piggyback is verified everywhere, fine-tune is changed after every later task."""
    cells = metrics[metrics["method"] != "floor"][["seed", "method", "task", "after"]].drop_duplicates()
    changed = (cells["method"] == "fine-tune") & (cells["task"] != cells["after"])
    return cells.assign(outcome=changed.map({True: "changed", False: "verified"}), reason="")


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


class Reader(HTMLParser):
    """Parser that collects rows of cells, URLs to fetch, open tags, and the attributes of all elements by tag."""

    VOID = ("meta", "img", "input", "br", "path")

    def __init__(self):
        super().__init__()
        self.rows, self.fetched, self.open, self.cell = [], [], [], None
        self.elements = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self.fetched += [attributes[name] for name in ("src", "srcset", "data") if name in attributes]
        if "href" in attributes and not attributes["href"].startswith("#"):
            self.fetched.append(attributes["href"])
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""
        if tag == "br" and self.cell is not None:
            self.cell += " "

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(" ".join(self.cell.split()))
            self.cell = None

    def handle_startendtag(self, tag, attrs):  # of SVG; in HTML only void elements
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def read(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def save(results, method, name, *, task="coco-seg", seed=0, side=16):
    path = results / "evaluation" / f"seed-{seed}" / method / "samples" / task / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)).save(path)


@pytest.fixture
def results(tmp_path, metrics, sizes, verification):
    folder = tmp_path / "results" / "mini"
    (folder / "analysis").mkdir(parents=True)
    metrics.to_csv(folder / "metrics.csv", index=False)
    sizes.to_csv(folder / "sizes.csv", index=False)
    verification.to_csv(folder / "verification.csv", index=False)
    quality_table(metrics, SEQUENCE).to_csv(folder / "quality.csv", index=False)
    (folder / "conditions.json").write_text(json.dumps(CONDITIONS))
    pd.DataFrame(
        [
            [0, "piggyback", "colorize", "encoder.0.weight", 100, 0.10],
            [0, "piggyback", "colorize", "encoder.1.weight", 300, 0.30],
            [0, "piggyback", "style-gogh", "encoder.0.weight", 100, 0.44],
        ],
        columns=["seed", "method", "task", "layer", "weights", "zeros"],
    ).to_csv(folder / "analysis" / "zeros.csv", index=False)
    losses = [
        [0, method, task, step, "loss", first / step]
        for method, task, first in (
            ("fine-tune", "coco-seg", 60.0),
            ("piggyback", "coco-seg", 60.0),  # the same training of the base network
            ("fine-tune", "colorize", 20.0),
            ("piggyback", "colorize", 30.0),
        )
        for step in (10, 20)
    ]
    losses.append([0, "piggyback", "colorize", 20, "penalty", 7.0])
    pd.DataFrame(losses, columns=["seed", "method", "task", "step", "name", "value"]).to_csv(
        folder / "analysis" / "losses.csv", index=False
    )
    pd.DataFrame(
        [[0, "piggyback", "style-gogh", "colorize", 0.66, 0.625]],
        columns=["seed", "method", "task", "other", "similarity", "independent"],
    ).to_csv(folder / "analysis" / "similarity.csv", index=False)
    pd.DataFrame(
        [
            ["fine-tune", 0.5, -0.7, 0.05, -0.125, 2048.0, 1536.0, 21.5, 640.2],
            ["piggyback", 0.9, 0.0, -0.1, 0.0, 4096.0, 0.0, 30, 700],
        ],
        columns=["method", *COLUMN_FORMATS],
    ).to_csv(folder / "forgetting.csv", index=False)
    pd.DataFrame(
        [[0, "piggyback", "colorize", "free", 0.36], [0, "piggyback", "style-gogh", "spare", 1234.5]],
        columns=["seed", "method", "task", "name", "value"],
    ).to_csv(folder / "diagnostics.csv", index=False)
    return folder


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "mini"
    for task_name in ("colorize", "style-gogh", "edges"):
        (folder / "prepared" / task_name).mkdir(parents=True)
        counted = {"val": {"from": "val2017", "pictures": 4, "refused": 0, "broken": 0}}
        (folder / "prepared" / task_name / "info.json").write_text(json.dumps({"splits": counted, "left_out": []}))
    task = folder / "prepared" / "coco-seg"
    task.mkdir(parents=True)
    counts = {
        "val": {"from": "val2017", "pictures": 8, "refused": 0, "broken": 0},
        "train": {"from": "train2017", "pictures": 1400, "refused": 2, "broken": 1},
    }
    left_out = [{"split": "train", "source": "a<b>.jpg", "kind": "broken", "reason": "truncated"}]
    (task / "info.json").write_text(json.dumps({"splits": counts, "left_out": left_out, "size": 64}))
    return folder


@pytest.fixture
def page(results, data, sequence, methods):
    def make(origin=None, methods=methods):
        return render(results, data, sequence, methods, origin or Origin("mini"))

    return make
