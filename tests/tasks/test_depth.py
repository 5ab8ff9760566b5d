import math

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from pydantic import ValidationError
from torch import Tensor

from palimpsest.tasks import build_task
from palimpsest.tasks.depth import DepthTask
from palimpsest.tasks.depth_settings import DepthSettings
from palimpsest.tasks.viridis import viridis

NAN = math.nan


def depth(low: float = 1, high: float = 9) -> DepthTask:
    task = build_task("depth", DepthSettings(kind="depth", data="a", range=(low, high)))
    assert isinstance(task, DepthTask)
    return task


def square(values: list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[None, None]


TARGET = square([[2, 4], [NAN, 8]])
PREDICTION = square([[3, 4], [5, 6]])
BATCH = {"picture": torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "target": TARGET}


def test_absrel_and_rmse_by_hand() -> None:
    meter = depth().meter()
    meter.update(PREDICTION, BATCH)
    metrics = meter.compute()
    assert metrics["absrel"] == pytest.approx((1 / 2 + 0 + 2 / 8) / 3)
    assert metrics["rmse"] == pytest.approx(math.sqrt((1 + 0 + 4) / 3))


def test_metrics_are_means_over_the_pixels_of_all_batches() -> None:
    joined, parts = depth().meter(), depth().meter()
    second_batch = {**BATCH, "target": square([[8, NAN], [NAN, NAN]])}
    joined.update(torch.cat([PREDICTION, PREDICTION]), {"target": torch.cat([TARGET, second_batch["target"]])})
    parts.update(PREDICTION, BATCH)
    parts.update(PREDICTION, second_batch)
    assert parts.compute() == joined.compute()
    assert parts.compute()["absrel"] == pytest.approx((1 / 2 + 0 + 2 / 8 + 5 / 8) / 4)


def test_the_loss_is_l1_over_valid_pixels_relative_to_the_range() -> None:
    prediction = PREDICTION.clone().requires_grad_()
    loss = depth().losses(prediction, BATCH)["loss"]
    assert loss.item() == pytest.approx((1 + 0 + 2) / 3 / 8)
    loss.backward()
    assert prediction.grad is not None
    assert prediction.grad.flatten().tolist() == pytest.approx([1 / 24, 0, 0, -1 / 24])


def test_a_batch_without_a_valid_pixel_gives_no_loss_and_no_gradient() -> None:
    prediction = PREDICTION.clone().requires_grad_()
    batch = {**BATCH, "target": torch.full_like(TARGET, NAN)}
    for loss in (depth().losses(prediction, batch)["loss"], depth().sampled_loss(prediction, batch)):
        assert loss.item() == 0
        assert torch.equal(torch.autograd.grad(loss, prediction)[0], torch.zeros_like(prediction))


def test_the_sampled_loss_has_no_gradient_where_depth_is_unknown() -> None:
    torch.manual_seed(0)
    prediction = PREDICTION.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(depth().sampled_loss(prediction, BATCH), prediction)
    assert gradient.isfinite().all() and gradient[0, 0, 1, 0] == 0 and gradient.count_nonzero() == 3


def test_predictions_are_within_the_range() -> None:
    output = torch.tensor([-100.0, 0.0, 100.0]).bfloat16()[None, None, :, None]
    prediction = depth().prediction(output, BATCH)
    assert prediction.dtype == torch.float32 and prediction.flatten().tolist() == [1, 5, 9]


def test_the_trivial_baseline_is_the_mean_of_the_valid_training_depths() -> None:
    targets = np.array([[2, 4], [np.nan, 6]], np.float32).reshape(2, 1, 2, 1)
    answer = depth().floor(targets)(BATCH)
    assert answer.shape == (1, 1, 2, 2) and set(answer.flatten().tolist()) == {4}


def test_near_is_dark_far_is_bright_and_unknown_is_black() -> None:
    nearest, farthest, unknown = depth().paint(square([[1, 9, NAN]]))[0, 0].tolist()
    assert nearest == [68, 1, 84] and farthest == [253, 231, 36] and unknown == [0, 0, 0]  # the ends of viridis
    assert depth().paint_target(BATCH)[0, 1, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("limits", [(0, 5), (5, 5), (-1, 5)])
def test_a_range_that_is_empty_or_not_positive_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="range"):
        DepthSettings(kind="depth", data="a", range=limits)


def test_the_colours_are_those_of_matplotlib() -> None:
    assert np.array_equal(viridis(), colormaps["viridis"](np.arange(256), bytes=True)[:, :3])
