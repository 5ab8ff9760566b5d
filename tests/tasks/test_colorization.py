import numpy as np
import pytest
import torch
from torch import Tensor

from palimpsest.data.arrays import Prepared
from palimpsest.tasks import build_task
from palimpsest.tasks.colorization import (
    CELLS,
    ColorizationTask,
    cells,
    chroma,
    colour_fractions,
    luminance,
    with_chroma,
)
from palimpsest.tasks.colorization_settings import ColorizationSettings


def colorization(**options: str | float) -> ColorizationTask:
    task = build_task("colorize", ColorizationSettings(kind="colorization", data="a", **options))  # type: ignore[arg-type]
    assert isinstance(task, ColorizationTask)
    return task


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Return two photographs of 16×16 pixels."""
    return {"picture": torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)}


def test_luminance_and_chroma_are_those_of_bt_601() -> None:
    red = torch.tensor([1.0, 0, 0])[None, :, None, None]
    blue = torch.tensor([0, 0, 1.0])[None, :, None, None]
    grey = torch.full((1, 3, 1, 1), 0.3)
    assert luminance(red).item() == pytest.approx(0.299)
    assert chroma(red).flatten().tolist() == pytest.approx([-0.168736, 0.5], abs=1e-5)  # Cb, Cr
    assert chroma(blue).flatten().tolist() == pytest.approx([0.5, -0.081312], abs=1e-5)
    assert luminance(grey).item() == pytest.approx(0.3) and chroma(grey).abs().max() < 1e-6


def test_luminance_and_chroma_make_up_the_picture() -> None:
    pictures = torch.rand(2, 3, 5, 7)
    assert torch.allclose(with_chroma(luminance(pictures), chroma(pictures)), pictures, atol=1e-6)


def test_the_input_of_the_network_has_no_colour(batch: dict[str, Tensor]) -> None:
    inputs = colorization().inputs(batch)
    assert inputs.shape == (2, 3, 16, 16)
    assert torch.equal(inputs[:, 0], inputs[:, 1]) and torch.equal(inputs[:, 0], inputs[:, 2])
    assert torch.equal(inputs[:, :1], luminance(batch["picture"].float() / 255))


def test_with_rgb_the_network_predicts_the_picture(batch: dict[str, Tensor]) -> None:
    task = colorization(output="rgb")
    output = torch.randn(2, 3, 16, 16)
    assert task.head_channels == 3
    assert torch.equal(task.prediction(output, batch), output.sigmoid())


def test_with_chroma_the_prediction_has_the_luminance_of_the_input(
    batch: dict[str, Tensor],
) -> None:
    task = colorization(output="chroma")
    prediction = task.prediction(3 * torch.randn(2, 2, 16, 16), batch)
    assert task.head_channels == 2
    assert torch.allclose(luminance(prediction), task.inputs(batch)[:, :1], atol=1e-5)
    grey = task.prediction(torch.zeros(2, 2, 16, 16), batch)
    assert torch.allclose(grey, task.inputs(batch), atol=1e-6)


def test_the_loss_is_the_distance_to_the_photograph(batch: dict[str, Tensor]) -> None:
    photograph = batch["picture"].float() / 255
    assert colorization(loss="l1").losses(photograph + 0.5, batch)["loss"].item() == pytest.approx(0.5)
    assert colorization(loss="l2").losses(photograph + 0.5, batch)["loss"].item() == pytest.approx(0.25)


def test_grey_photographs_are_refused() -> None:
    grey = np.full((4, 4, 3), 80, np.uint8)
    coloured = grey.copy()
    coloured[..., 0] = 200
    assert colorization().refuse(grey) == "grey photograph"
    assert colorization().refuse(coloured) is None


def test_the_true_picture_has_perfect_metrics(batch: dict[str, Tensor]) -> None:
    task = colorization()
    meter = task.meter()
    meter.update(task.truth(batch), batch)
    assert meter.compute() == pytest.approx({"ssim": 1, "mse": 0, "ciede2000": 0, "colourfulness": 1}, abs=1e-6)


def test_the_floor_is_the_grey_picture(batch: dict[str, Tensor]) -> None:
    task = colorization()
    answer = task.floor(None)(batch)
    meter = task.meter()
    meter.update(answer, batch)
    measured = meter.compute()
    assert torch.equal(answer, task.inputs(batch))
    assert measured["colourfulness"] == pytest.approx(0, abs=1e-6) and measured["ciede2000"] > 5


def test_mse_is_on_the_scale_of_bytes_and_a_mean_over_pictures_not_batches() -> None:
    task = colorization()
    meter = task.meter()
    for pictures, offset in ((3, 10), (1, 50)):
        batch = {"picture": torch.randint(100, 130, (pictures, 3, 16, 16), dtype=torch.uint8)}
        meter.update((batch["picture"].float() + offset) / 255, batch)
    assert meter.compute()["mse"] == pytest.approx((3 * 10**2 + 50**2) / 4, rel=1e-4)


def test_colourfulness_is_a_ratio_of_sums() -> None:
    task = colorization()
    meter = task.meter()
    vivid = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    vivid[:, 0, :, :8] = 255
    pale = torch.full_like(vivid, 100)
    pale[:, 0, :, :8] = 110
    for picture in (vivid, pale):
        prediction = picture.float() / 255 if picture is vivid else luminance(picture / 255).expand(-1, 3, -1, -1)
        meter.update(prediction, {"picture": picture})
    assert 0.9 < meter.compute()["colourfulness"] < 1  # a mean of ratios would be ½


def test_predictions_are_painted_with_values_outside_clipped(batch: dict[str, Tensor]) -> None:
    task = colorization()
    prediction = torch.tensor([-0.2, 0.5, 1.3])[None, :, None, None]
    assert task.paint(prediction).tolist() == [[[[0, 128, 255]]]]
    assert np.array_equal(task.paint_target(batch), batch["picture"].permute(0, 2, 3, 1).numpy())


@pytest.fixture
def photographs() -> Prepared:
    """Return two training pictures, three quarters grey and one orange, and a blue picture of another split."""
    pictures = np.full((3, 32, 32, 3), 128, np.uint8)
    pictures[:2, :16, :16] = (230, 120, 30)
    pictures[2] = (0, 0, 255)
    return Prepared(pictures, None, ("a", "b", "c"), ("train", "train", "val"), {})


def test_every_grey_is_in_one_cell() -> None:
    greys = torch.arange(256).view(1, 1, 16, 16).expand(-1, 3, -1, -1) / 255
    blue, red = cells(chroma(greys))
    assert blue.unique().tolist() == red.unique().tolist() == [CELLS // 2]


def test_the_fractions_of_colours_are_those_of_the_training_pixels(photographs: Prepared) -> None:
    fractions = colour_fractions(photographs)
    assert fractions.shape == (CELLS, CELLS) and fractions.sum() == 1
    assert sorted(fractions[fractions > 0].tolist()) == [0.25, 0.75]
    grey = cells(torch.zeros(1, 2, 1, 1))
    assert fractions[grey] == 0.75


@pytest.mark.parametrize("exponent", [0.5, 1])
def test_a_rare_colour_weighs_more_and_the_mean_weight_is_1(photographs: Prepared, exponent: float) -> None:
    task = colorization(colour_balance=exponent)
    task.use_training_data(photographs)
    assert task.colour_weights is not None
    fractions = colour_fractions(photographs)
    grey, orange = fractions == 0.75, fractions == 0.25
    ratio = (0.5 * 0.75 + 0.25) / (0.5 * 0.25 + 0.25)  # of the fractions, each averaged with one half
    assert task.colour_weights[orange] / task.colour_weights[grey] == pytest.approx(ratio**exponent)
    assert (task.colour_weights * fractions).sum() == pytest.approx(1)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_balanced_loss_is_the_weighted_mean_of_the_distances(photographs: Prepared, loss: str) -> None:
    plain, balanced = colorization(loss=loss), colorization(loss=loss, colour_balance=0.5)
    for task in (plain, balanced):
        task.use_training_data(photographs)
    truth = torch.from_numpy(photographs.picture[:1]).permute(0, 3, 1, 2)
    halves = [{"picture": truth[..., :16, :16]}, {"picture": truth[..., 16:, 16:]}]  # orange, grey
    weights = [balanced.colour_weights[colour_fractions(photographs) == share] for share in (0.25, 0.75)]
    for batch, weight in zip(halves, weights, strict=True):
        prediction = torch.rand(1, 3, 16, 16)
        unweighted = plain.losses(prediction, batch)["loss"]
        assert balanced.losses(prediction, batch)["loss"] == pytest.approx(float(weight * unweighted))


def test_without_balance_no_colour_has_a_weight(photographs: Prepared) -> None:
    task = colorization()
    task.use_training_data(photographs)
    assert task.colour_weights is None
