"""Bootstrap over pictures: its standard errors, and the samples of every meter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from palimpsest.metrics.bootstrap import Sample, standard_errors
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Batch, Task
from palimpsest.tasks.colorization_settings import ColorizationSettings
from palimpsest.tasks.depth_settings import DepthSettings
from palimpsest.tasks.segmentation_settings import SegmentationSettings
from palimpsest.tasks.style import StyleMeter
from palimpsest.tasks.style_settings import StyleSettings

COUNT = 9
SIDE = 32


def test_the_error_of_a_mean_is_its_deviation_by_the_root_of_the_number() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    errors = standard_errors(lambda sample: {"mean": float(values[sample].mean())}, len(values))
    assert errors["mean"] == pytest.approx(values.std() / 20, rel=0.15)


def test_samples_are_equal_for_equal_numbers_of_units() -> None:
    samples: list[Sample] = []
    for _ in range(2):
        standard_errors(lambda sample: {"none": float(len(samples.append(sample) or ()))}, 7)
    assert all(np.array_equal(a, b) for a, b in zip(samples[:200], samples[200:], strict=True))
    assert all(sample.shape == (7,) and sample.min() >= 0 and sample.max() < 7 for sample in samples)


def test_fewer_than_two_units_have_no_error_and_missing_values_are_left_out() -> None:
    assert standard_errors(lambda sample: {"mean": 1.0}, 1) == {}

    def sometimes(sample: Sample) -> dict[str, float]:
        first = {"first": float(sample[1])} if 0 in sample else {}
        return {"nan": float("nan") if 0 in sample else float(sample[1]), **first}

    errors = standard_errors(sometimes, 4)
    assert all(0.5 < errors[name] < 2 for name in ("first", "nan"))


def a_task(kind: str, painting: Path) -> tuple[Task, Batch, Tensor]:
    """Return a task, a batch of `COUNT` pictures, and random predictions."""
    generator = torch.Generator().manual_seed(3)
    pictures = torch.randint(0, 256, (COUNT, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    noise = torch.rand(COUNT, 3, SIDE, SIDE, generator=generator)
    labels = torch.randint(0, 3, (COUNT, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    if kind == "segmentation":
        task = SegmentationSettings(kind=kind, data="a", classes={"cat": ["cat"], "dog": ["dog"]})
        return build_task("task", task), {"picture": pictures, "target": labels}, noise
    if kind == "colorization":
        return build_task("task", ColorizationSettings(kind=kind, data="a")), {"picture": pictures}, noise
    if kind == "depth":
        depth = DepthSettings(kind=kind, data="a", range=(1.0, 9.0))
        values = 1 + 8 * torch.rand(COUNT, 1, SIDE, SIDE, generator=generator)
        return build_task("task", depth), {"picture": pictures, "target": values}, noise[:, :1]
    style = StyleSettings(kind="style", data="a", picture=painting, picture_size=SIDE, perceptual="random")
    return build_task("task", style), {"picture": pictures}, noise


@pytest.mark.parametrize("kind", ["segmentation", "colorization", "depth", "style"])
def test_the_metrics_of_a_sample_are_those_of_its_pictures(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StyleMeter, "GROUP", 1)
    Image.new("RGB", (SIDE, SIDE), (30, 60, 150)).save(tmp_path / "blue.png")
    task, batch, prediction = a_task(kind, tmp_path / "blue.png")
    meter = task.meter()
    for rows in (slice(0, 4), slice(4, COUNT)):
        meter.update(prediction[rows], {name: values[rows] for name, values in batch.items()})
    assert meter.units == COUNT
    sample = np.array([5, 1, 5, 0, 8, 8, 8, 2, 3])
    drawn = task.meter()
    drawn.update(prediction[sample], {name: values[sample] for name, values in batch.items()})
    assert meter.compute(sample) == pytest.approx(drawn.compute(), rel=1e-5)
    assert meter.compute(sample) != pytest.approx(meter.compute(), rel=1e-4)


def test_units_of_a_style_stay_equally_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (SIDE, SIDE), (30, 60, 150)).save(tmp_path / "blue.png")
    task, batch, prediction = a_task("style", tmp_path / "blue.png")
    metrics = []
    for group, units, sizes in ((1, 64, [1] * COUNT), (1, 4, [3, 2, 2, 2]), (4, 64, [4, 4, 1])):
        monkeypatch.setattr(StyleMeter, "GROUP", group)
        monkeypatch.setattr(StyleMeter, "MAX_UNITS", units)
        meter = task.meter()
        assert isinstance(meter, StyleMeter)
        meter.update(prediction, batch)
        assert [len(similarities) for _, similarities in meter.by_unit] == sizes
        metrics.append(meter.compute())
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-5) and metrics[2] == pytest.approx(metrics[0], rel=1e-5)


@pytest.mark.parametrize("kind", ["colorization", "depth"])
def test_a_metric_without_a_value_is_nan(kind: str, tmp_path: Path) -> None:
    task, batch, prediction = a_task(kind, tmp_path)
    batch["picture"][:] = 128  # grey, without colour
    if kind == "depth":
        batch["target"][:] = torch.nan
    meter = task.meter()
    meter.update(prediction, batch)
    without_value = {"colorization": ["colourfulness"], "depth": ["absrel", "rmse"]}[kind]
    metrics = meter.compute()
    assert all(np.isnan(metrics[name]) for name in without_value)
