"""`python -m pipeline.compose`: two stored tasks composed, painted and measured."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from palimpsest.analysis.measurement import measure
from palimpsest.inference import Predictor
from palimpsest.methods import AUTOENCODER, BASE
from palimpsest.report.grid import GAP, LINE
from pipeline import compose
from tests.conftest import Study
from tests.pipeline.conftest import write_arrays

pytestmark = pytest.mark.slow

STYLE = {"kind": "style", "data": "drawn", "picture": "painting.png", "picture_size": 32, "perceptual": "random"}
COMPOSITIONS: list[dict[str, Any]] = [
    {"first": "colour", "second": "gogh", "method": "resblock6", "ways": ["two-stage", "sequential", "alternate"]},
    {"first": "colour", "second": "shapes", "method": "resblock6", "ways": ["two-stage", "sequential"]},
    {"first": "gogh", "second": "munch", "method": "piggyback", "ways": ["blend"], "steps": 3, "pictures": 5},
]


@pytest.fixture
def study(new_study: Callable[..., Study]) -> Study:
    """Return a study whose tasks are stored without training, with a painting of noise."""
    made = new_study(
        sequence=["shapes", "colour", "gogh", "munch"],
        tasks={"gogh": STYLE, "munch": {**STYLE, "style_weight": 4.0}},
        compositions=COMPOSITIONS,
    )
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save("painting.png")
    made.store_untrained(BASE, "shapes")
    made.store_untrained(AUTOENCODER, "shapes")
    for method, tasks in {"resblock6": ("shapes", "colour", "gogh"), "piggyback": ("gogh", "munch")}.items():
        for task in tasks:
            made.store_untrained(method, task)
    for task in made.settings.sequence:
        write_arrays(made.layout.prepared(task), made.prepared["shapes" if task == "shapes" else "colour"])
    return made


def composed(study: Study, name: str) -> tuple[pd.DataFrame, Path]:
    """Return the table of a composition and its folder."""
    compose.main(study.settings, study.layout, argparse.Namespace(composition=name))
    folder = study.layout.composition(name)
    assert {path.name for path in folder.iterdir()} == {"grid.png", "metrics.csv", "origin.json"}
    return pd.read_csv(folder / "metrics.csv"), folder


def columns(folder: Path) -> int:
    """Return the number of columns of a grid, which has a row per validation picture."""
    width, height = Image.open(folder / "grid.png").size
    assert height == LINE + 2 * (GAP + compose.SIDE)
    return (width + GAP) // (compose.SIDE + GAP)


def test_every_way_is_measured_for_both_tasks_and_painted(study: Study) -> None:
    table, folder = composed(study, "resblock6-colour+gogh")
    assert list(table) == ["way", "alpha", "task", "metric", "value", "images"]
    ways = ["first alone", "second alone", "two-stage", "sequential", "alternate"]
    for task, metric in (("colour", "ciede2000"), ("gogh", "total_loss")):
        assert list(table[(table.task == task) & (table.metric == metric)].way) == ways
    assert (table.images == 2).all() and table.value.notna().all() and table.alpha.isna().all()
    assert columns(folder) == 1 + len(ways)
    task = study.task("colour")
    network = study.stored("resblock6").network(task.name)
    alone = measure(Predictor(network, task).predict, task, study.prepared["colour"], torch.device("cpu"), 0)
    rows = table[(table.way == "first alone") & (table.task == "colour")]
    assert dict(zip(rows.metric, rows.value, strict=True)) == pytest.approx(alone.metrics)
    made_with = json.loads((folder / "origin.json").read_text())
    assert made_with["settings"]["composition"]["ways"] == ways[2:] and set(made_with["data_sha256"]) == {
        "colour",
        "gogh",
    }


def test_classes_are_measured_for_the_second_task_alone(study: Study) -> None:
    table, folder = composed(study, "resblock6-colour+shapes")
    assert {way: set(rows.task) for way, rows in table.groupby("way")} == {
        "first alone": {"colour"},
        **{way: {"shapes"} for way in ("second alone", "two-stage", "sequential")},
    }
    assert columns(folder) == 5


def test_a_blend_goes_from_the_first_style_to_the_second(study: Study) -> None:
    table, folder = composed(study, "piggyback-gogh+munch")
    blends = table[(table.way == "blend") & (table.metric == "total_loss")]
    assert list(blends.alpha) == [1, 1, 0.5, 0.5, 0, 0]
    assert list(blends.task) == 3 * ["gogh", "munch"]
    assert columns(folder) == 6
