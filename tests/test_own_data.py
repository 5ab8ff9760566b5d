"""Study on a user's data, from a table and from folders, through every step, with a target of each form."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from palimpsest.analysis.forgetting import measure_matrix, metric_rows
from palimpsest.analysis.transfer import quality_figures, quality_table
from palimpsest.bundling import bundle_study
from palimpsest.data.arrays import Prepared
from palimpsest.data.sources import provide
from pipeline import floor, prepare

Study = Any

SIDE = 40


def write_files(root: Path) -> None:
    """Write ten pictures whose brightness grows with the depth of their left half, and targets of each form."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(10):
        depth = np.full((SIDE, SIDE), 1 + number % 3 * 2, np.float32)
        depth[:, SIDE // 2 :] = 6
        depth[:4] = np.nan
        split = "val" if number in (7, 9) else "train"
        pixels = (depth[..., None] * 40 + random.integers(0, 9, (SIDE, SIDE, 3))).clip(0, 255)
        picture = Image.fromarray(np.nan_to_num(pixels).astype(np.uint8))
        row = {
            name: f"{name}/{number}.{suffix}"
            for name, suffix in {"photo": "png", "depth": "npy", "parts": "png", "inverse": "png"}.items()
        }
        millimetres = Image.fromarray((np.nan_to_num(depth) * 1000).astype(np.uint16))
        for path in [*row.values(), f"pairs/{split}/input/x", f"pairs/{split}/target/x"]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(root / row["photo"])
        np.save(root / row["depth"], depth)
        Image.fromarray(np.where(depth == 6, 7, 0).astype(np.uint8)).save(root / row["parts"])
        Image.fromarray(255 - np.array(picture)).save(root / row["inverse"])
        picture.save(root / f"pairs/{split}/input/{number}.png")
        millimetres.save(root / f"pairs/{split}/target/{number}.png")
        rows.append({**row, "part": split})
    pd.DataFrame(rows).to_csv(root / "all.csv", index=False)


def listed(target: str, **options: Any) -> dict[str, Any]:
    columns = {"picture": "photo", "target": target, "split": "part"}
    return {
        "format": "table",
        "source": "directory",
        "root": "own",
        "table": "all.csv",
        "columns": columns,
        **options,
    }


SETTINGS: dict[str, Any] = {
    "datasets": {
        "metres": listed("depth"),
        "millimetres": {"format": "paired", "source": "directory", "root": "own/pairs"},
        "parts": listed("parts", labels={"wall": 7}),
        "inverse": listed("inverse"),
    },
    "tasks": {
        "metres": {"kind": "depth", "data": "metres", "range": [0.5, 8], "training": {"steps": 80}},
        "millimetres": {"kind": "depth", "data": "millimetres", "range": [0.5, 8], "scale": 0.001},
        "walls": {"kind": "segmentation", "data": "parts", "classes": {"wall": ["wall"]}},
        "inverse": {"kind": "paired", "data": "inverse"},
    },
    "sequence": ["metres", "millimetres", "walls", "inverse"],
    "training": {"steps": 30, "steps_per_epoch": 10},
}


@pytest.fixture
def study(new_study: Callable[..., Study]) -> Study:
    """Return the study with prepared arrays."""
    write_files(Path("own"))
    study = new_study(methods=["scratch", "fine-tune", "piggyback"], **SETTINGS)
    for name in study.settings.sequence:
        data = study.settings.tasks[name].data
        manifest = study.layout.manifest(data)
        provide(study.settings.datasets[data], manifest.parent, manifest)
        prepare.main(study.settings, study.layout, Namespace(task=name))
    study.prepared = {name: Prepared.open(study.layout.prepared(name)) for name in study.settings.sequence}
    return study


def test_both_sources_of_depth_give_the_same_arrays(study: Study) -> None:
    metres, millimetres = (study.prepared[name] for name in ("metres", "millimetres"))
    assert metres.target.shape == (10, 32, 32, 1)
    assert np.isnan(metres.target).mean() == pytest.approx(4 / SIDE, abs=0.03)
    assert np.array_equal(metres.picture, millimetres.picture)
    assert np.allclose(metres.target, millimetres.target, rtol=1e-6, equal_nan=True)


@pytest.mark.slow
def test_a_study_with_targets_of_each_form_is_learned_measured_stored_and_loaded(study: Study) -> None:
    metrics = []
    for method in study.settings.methods:
        study.learn_all(method)
        cells = list(measure_matrix(study.stored(method), study.tasks(), study.prepared, torch.device("cpu"), 1))
        metrics += [{"seed": 0, "method": method, **row} for row in metric_rows(cells)]
        if method != "fine-tune":  # other methods overwrite no task: reloaded, each predicts the same bits
            for task in study.settings.sequence:
                assert len({cell.measurement.checksum for cell in cells if cell.task == task}) == 1
    floor.main(study.settings, study.layout, Namespace(seed=0))
    folder = study.layout.evaluation(0, "floor")
    metrics += pd.read_csv(folder / "metrics.csv").assign(seed=0, method="floor").to_dict("records")
    assert np.array(Image.open(folder / "samples/metres/target-0.png"))[0].max() == 0  # unknown depth is black
    table = pd.DataFrame(metrics)
    rows = table[(table["task"] == "metres") & (table["after"] == "metres")]
    values = {(row.method, row.metric): row.value for row in rows.itertuples()}
    assert values["scratch", "absrel"] < values["floor", "absrel"]
    assert values["scratch", "rmse"] < values["floor", "rmse"]
    sequence = [(name, study.settings.tasks[name].kind) for name in study.settings.sequence]
    figures = quality_figures(quality_table(table, sequence), sequence)
    for method in study.settings.methods:
        missing = {name for name, value in figures[method][0].items() if not np.isfinite(value)}
        assert missing == {"excess_loss"}, method  # no task is a style
    translator = bundle_study(study.settings, 0, "piggyback", ["millimetres"]).translator("millimetres")
    painted = translator(np.full((50, 70, 3), 90, np.uint8))
    assert painted.shape == (50, 70, 3) and painted.dtype == np.uint8
