"""Task kind `style`: sums of losses, the painting as optimum, and invalid files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from palimpsest.errors import DataError
from palimpsest.metrics.perceptual import grid_loss, style_loss, tiles, total_variation
from palimpsest.tasks.style import StyleTask, read_painting
from palimpsest.tasks.style_settings import StyleSettings


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    """Return a lossless file of a blue picture with yellow spots, 96×64."""
    rng = np.random.default_rng(0)
    pixels = np.full((64, 96, 3), (30, 60, 150), np.uint8)
    for y, x in rng.integers(0, 60, (12, 2)):
        pixels[y : y + 6, x : x + 10] = (230, 200, 60)
    path = tmp_path / "painting.png"
    Image.fromarray(pixels).save(path)
    return path


def settings(picture: Path, **changes: object) -> StyleSettings:
    values = {
        "kind": "style",
        "data": "coco",
        "picture": picture,
        "picture_size": 64,
        "content_weight": 2.0,
        "style_weight": 3.0,
        "tv_weight": 0.5,
        "grid_weight": 7.0,
        "perceptual": "random",
    }
    return StyleSettings.model_validate(values | changes)


KINDS = ("content", "style", "tv", "grid")
PARTS = [f"{kind}_loss" for kind in KINDS]


def a_batch(count: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {"picture": torch.randint(0, 256, (count, 3, 48, 64), generator=generator, dtype=torch.uint8)}


def a_prediction(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 48, 64, generator=torch.Generator().manual_seed(5))


def test_parts_sum_to_the_loss(painting: Path):
    losses = StyleTask("style-gogh", settings(painting)).losses(a_prediction(), a_batch())
    assert set(losses) == {"loss", *PARTS}
    assert losses["loss"].item() == pytest.approx(sum(losses[name].item() for name in PARTS))


def test_fisher_information_uses_the_loss_since_it_is_no_likelihood(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    batch, prediction = a_batch(), a_prediction().requires_grad_()
    sampled = task.sampled_loss(prediction, batch)
    loss = task.losses(prediction, batch)["loss"]
    assert sampled.item() == loss.item() > 0
    (gradient,) = torch.autograd.grad(sampled, prediction)
    assert torch.equal(gradient, torch.autograd.grad(loss, prediction)[0]) and gradient.abs().sum() > 0


def test_each_part_is_proportional_to_its_weight_alone(painting: Path):
    once = StyleTask("style-gogh", settings(painting)).losses(a_prediction(), a_batch())
    for part in KINDS:
        name = f"{part}_weight"
        twice = StyleTask("style-gogh", settings(painting, **{name: 2 * getattr(settings(painting), name)}))
        changed = twice.losses(a_prediction(), a_batch())
        for changed_part in KINDS:
            factor = 2 if changed_part == part else 1
            assert changed[f"{changed_part}_loss"].item() == pytest.approx(
                factor * once[f"{changed_part}_loss"].item()
            )


def test_the_photograph_has_no_content_loss_and_the_painting_no_style_loss(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    batch = a_batch()
    assert task.losses(task.floor(None)(batch), batch)["content_loss"].item() == 0
    original = {"picture": read_painting(painting, 64)}
    losses = task.losses(task.floor(None)(original), original)
    assert losses["style_loss"].item() == pytest.approx(0, abs=1e-8)
    variation = total_variation(original["picture"] / 255).item()
    grid = grid_loss(tiles(original["picture"] / 255, 16)).item()
    assert losses["loss"].item() == pytest.approx(0.5 * variation + 7 * grid)


def test_the_loss_gives_pixels_the_colours_of_the_painting(painting: Path):
    task = StyleTask("style-gogh", settings(painting, content_weight=1.0, tv_weight=0.0))
    batch = {"picture": torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)}
    output = torch.zeros(1, 3, 32, 32, requires_grad=True)
    optimiser = torch.optim.Adam([output], lr=0.2)
    for _ in range(40):
        optimiser.zero_grad()
        task.losses(task.prediction(output, batch), batch)["loss"].backward()
        optimiser.step()
    red, green, blue = task.prediction(output, batch).mean(dim=(0, 2, 3)).tolist()
    assert blue > green > red


def test_two_halves_of_the_painting_match_together_but_not_alone(tmp_path: Path):
    halves = torch.randint(0, 50, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    halves[0, 2] += 170
    halves[1, :2] += 170
    joined = torch.cat([halves[0], halves[1]], dim=2)
    Image.fromarray(joined.permute(1, 2, 0).numpy()).save(tmp_path / "halves.png")
    task = StyleTask("style-gogh", settings(tmp_path / "halves.png", style_weight=1.0))
    statistics = task.statistics(halves / 255, halves / 255)
    # The layer of colours; layers of strokes include the border between the halves.
    torch.testing.assert_close(statistics.grams[0], task.perceptual_loss(torch.device("cpu")).grams[0])
    pooled = task.losses(halves / 255, {"picture": halves})["style_loss"].item()
    alone = [task.losses(half[None] / 255, {"picture": half[None]})["style_loss"].item() for half in halves]
    together = style_loss(statistics.grams, task.perceptual_loss(torch.device("cpu")).grams).item()
    assert together < 0.75 * min(alone)
    assert pooled == pytest.approx(0.1 * sum(alone) / 2 + 0.9 * together)


def test_losses_are_float32_and_close_under_autocast(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    exact = task.losses(a_prediction(), a_batch())
    prediction = a_prediction().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        losses = task.losses(prediction, a_batch())
    losses["loss"].backward()
    assert torch.isfinite(prediction.grad).all()
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[name].item(), rel=0.03)


def test_prediction_is_float32_between_0_and_1(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    output = torch.tensor([-1000.0, 0.0, 1000.0], dtype=torch.bfloat16).reshape(1, 3, 1, 1)
    prediction = task.prediction(output, a_batch(1))
    assert prediction.dtype == torch.float32
    assert prediction.flatten().tolist() == [0, 0.5, 1]


def test_metrics_do_not_depend_on_the_batches(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    single, split = task.meter(), task.meter()
    single.update(a_prediction(), a_batch())
    for rows in (slice(0, 1), slice(1, 3)):
        split.update(a_prediction()[rows], {"picture": a_batch()["picture"][rows]})
    metrics = single.compute()
    assert set(metrics) == {"total_loss", "ssim", *PARTS}
    assert split.compute() == pytest.approx(metrics)
    assert metrics["total_loss"] == pytest.approx(task.losses(a_prediction(), a_batch())["loss"].item(), rel=1e-5)


def test_the_floor_has_an_ssim_of_one(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    meter = task.meter()
    meter.update(task.floor(None)(a_batch()), a_batch())
    assert meter.compute()["ssim"] == pytest.approx(1)


def test_paints_the_prediction_and_the_photograph(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    batch = a_batch(1)
    assert np.array_equal(task.paint_target(batch)[0], batch["picture"][0].permute(1, 2, 0).numpy())
    assert task.paint(torch.full((1, 3, 2, 2), 0.5)).tolist() == [[[[128] * 3] * 2] * 2]


def test_the_perceptual_loss_is_neither_trained_nor_stored(painting: Path):
    task = StyleTask("style-gogh", settings(painting))
    perceptual_loss = task.perceptual_loss(torch.device("cpu"))
    assert not any(parameter.requires_grad for parameter in task.parameters())
    assert not task.state_dict()
    assert [tuple(gram.shape) for gram in perceptual_loss.grams] == [
        (1, 32, 32),
        *[(1, 16, 16)] * 3,
    ]


def test_the_painting_is_scaled_to_its_shorter_side(painting: Path):
    assert read_painting(painting, 32).shape == (1, 3, 32, 48)


def test_a_painting_that_is_too_large_is_refused_without_naming_a_setting(tmp_path: Path):
    path = tmp_path / "huge.png"
    Image.new("1", (30000, 20000)).save(path)
    with pytest.raises(
        DataError, match=r"huge\.png: 30000×20000 pixels are 600 megapixels.*scale the picture down$"
    ):
        read_painting(path, 32)


def test_a_missing_painting_is_named(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"lost\.jpg: no such file; add it or correct the path; see tasks\.style-gogh\.picture"
    ):
        StyleTask("style-gogh", settings(tmp_path / "lost.jpg")).perceptual_loss(torch.device("cpu"))


def test_a_painting_is_read_in_its_orientation(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(np.full((40, 60), 25700, np.uint16)).save(tmp_path / "upright.png", exif=exif)
    painting = read_painting(tmp_path / "upright.png", 32)
    assert painting.shape == (1, 3, 48, 32) and painting.unique().tolist() == [100]


def test_weights_of_another_network_are_refused_with_the_setting(painting: Path, tmp_path: Path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "vgg16.pth")
    task = StyleTask("style-gogh", settings(painting, perceptual="squeezenet", weights=tmp_path / "vgg16.pth"))
    with pytest.raises(DataError, match=r"vgg16\.pth: not the weights of .*; see tasks\.style-gogh\.weights"):
        task.perceptual_loss(torch.device("cpu"))


@pytest.mark.parametrize("length", [0, 60])
def test_a_broken_painting_is_named(painting: Path, length: int):
    painting.write_bytes(painting.read_bytes()[:length])
    with pytest.raises(DataError, match=r"painting\.png: .*; see tasks\.style-gogh\.picture"):
        StyleTask("style-gogh", settings(painting)).perceptual_loss(torch.device("cpu"))


def test_a_strip_is_no_painting(tmp_path: Path) -> None:
    path = tmp_path / "strip.png"
    Image.new("RGB", (20, 1)).save(path)
    assert read_painting(path, 32).shape == (1, 3, 32, 640)
    Image.new("RGB", (21, 1)).save(path)
    with pytest.raises(DataError, match=r"strip.png: 21×1 pixels are a strip; crop a part"):
        read_painting(path, 32)
