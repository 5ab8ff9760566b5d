import numpy as np
import pytest
import torch
from torch import Tensor

from palimpsest.tasks import build_task
from palimpsest.tasks.paired import PairedTask
from palimpsest.tasks.paired_settings import PairedSettings


def paired(**options: str) -> PairedTask:
    task = build_task("day-to-night", PairedSettings(kind="paired", data="a", **options))  # type: ignore[arg-type]
    assert isinstance(task, PairedTask)
    return task


@pytest.fixture
def batch() -> dict[str, Tensor]:
    pictures = torch.randint(0, 256, (2, 2, 3, 16, 16), dtype=torch.uint8)
    return {"picture": pictures[0], "target": pictures[1]}


def test_it_needs_a_target_picture_and_three_channels() -> None:
    assert paired().head_channels == 3


def test_the_network_gets_the_input_and_not_the_target(batch: dict[str, Tensor]) -> None:
    assert torch.equal(paired().inputs(batch), batch["picture"] / 255)


def test_the_loss_is_the_distance_to_the_target(batch: dict[str, Tensor]) -> None:
    target = batch["target"] / 255
    assert paired().losses(target, batch)["loss"].item() == 0
    assert paired(loss="l1").losses(target - 0.5, batch)["loss"].item() == pytest.approx(0.5)
    assert paired(loss="l2").losses(target - 0.5, batch)["loss"].item() == pytest.approx(0.25)


def test_the_prediction_is_a_picture_in_float32(batch: dict[str, Tensor]) -> None:
    prediction = paired().prediction(torch.tensor([-100.0, 0.0, 100.0]).bfloat16()[None, :, None, None], batch)
    assert prediction.dtype == torch.float32 and prediction.flatten().tolist() == [0, 0.5, 1]


def test_metrics_compare_with_the_target(batch: dict[str, Tensor]) -> None:
    task = paired()
    meter = task.meter()
    meter.update(batch["target"] / 255, batch)
    assert meter.compute() == pytest.approx({"ssim": 1, "mse": 0}, abs=1e-6)


def test_the_floor_is_the_input_picture(batch: dict[str, Tensor]) -> None:
    task = paired()
    meter = task.meter()
    meter.update(task.floor(None)(batch), batch)
    difference = batch["picture"].double() - batch["target"].double()
    assert meter.compute()["mse"] == pytest.approx(difference.square().mean().item(), rel=1e-5)


def test_the_target_is_painted_unchanged(batch: dict[str, Tensor]) -> None:
    assert np.array_equal(paired().paint_target(batch), batch["target"].permute(0, 2, 3, 1).numpy())
    assert np.array_equal(paired().paint(batch["target"] / 255), paired().paint_target(batch))
