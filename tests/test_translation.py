from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest import translation
from palimpsest.data.voc import palette
from palimpsest.errors import DataError
from palimpsest.inference import Predictor
from palimpsest.networks.resblock import ResblockNetwork
from palimpsest.networks.trunk import normalisation_layers
from palimpsest.networks.unet import UNet
from palimpsest.picture_paths import output_paths
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Task
from palimpsest.tasks.colorization import chroma, luminance, with_chroma, within_gamut
from palimpsest.tasks.colorization_settings import ColorizationSettings
from palimpsest.tasks.paired_settings import PairedSettings
from palimpsest.tasks.segmentation_settings import SegmentationSettings
from palimpsest.translation import (
    Translator,
    free_memory,
    padded_to_stride,
    resampled,
    window_side,
    windows_of,
    working_size,
)

STRIDE, REACH = UNet.stride, UNet.reach
SIZE = 32
LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture(autouse=True)
def single_thread() -> None:
    torch.set_num_threads(1)


def network(head_channels: int, width: int = 2) -> UNet:
    """Return an untrained network whose BatchNorm statistics and gains differ from the initial ones."""
    torch.manual_seed(0)
    built = UNet(width, head_channels)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return built.eval()


def residual(head_channels: int, width: int = 2) -> ResblockNetwork:
    """Return an untrained network with random blocks."""
    torch.manual_seed(0)
    built = ResblockNetwork(width, head_channels, blocks=2)
    for _, module in normalisation_layers(built.blocks):
        if isinstance(module.weight, Tensor):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return built.eval()


def translator(task: Task, window: int | None = 512, built: nn.Module | None = None) -> Translator:
    return Translator(Predictor(built or network(task.head_channels), task), SIZE, window, torch.device("cpu"))


def filter_task() -> Task:
    return build_task("filter", PairedSettings(kind="paired", data="any"))


def colour_task(output: str) -> Task:
    settings = ColorizationSettings.model_validate({"kind": "colorization", "data": "any", "output": output})
    return build_task("colorize", settings)


def class_task() -> Task:
    classes = {name: [name] for name in ("cat", "dog", "cow")}
    return build_task("classes", SegmentationSettings(kind="segmentation", data="any", classes=classes))


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Ramp(UNet):
    """Network whose scores of four classes depend on the position alone, so that the result is known."""

    def __init__(self) -> None:
        super().__init__(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        across = torch.linspace(-1, 1, x.shape[3])
        down = torch.linspace(-1, 1, x.shape[2])[:, None]
        return torch.stack([torch.zeros_like(across + down), across + down, across - down, -across + 0 * down])[
            None
        ]


@pytest.mark.parametrize(
    "make", [filter_task, class_task, lambda: colour_task("rgb"), lambda: colour_task("chroma")]
)
@pytest.mark.parametrize("shape", [(480, 640), (500, 333), (1, 1), (3, 17), (17, 3), (32, 32), (1, 700)])
def test_the_output_has_the_size_of_the_picture(make: type[Task], shape: tuple[int, int]) -> None:
    output = translator(make(), built=network(make().head_channels, width=1))(noise(*shape))
    assert output.shape == (*shape, 3)
    assert output.dtype == np.uint8


@torch.inference_mode()
def test_tiles_give_the_prediction_of_the_full_picture() -> None:
    photograph = noise(330, 490)
    task = filter_task()
    untiled = translator(task).predict(photograph)
    tiled = translator(task, window=256).predict(photograph)
    assert untiled.shape == (1, 3, 330, 490)
    assert untiled.std() > 0.02  # the prediction varies with the position
    torch.testing.assert_close(tiled, untiled, rtol=0, atol=1e-5)


def test_the_margin_covers_the_receptive_field_and_little_more() -> None:
    built = network(1, width=2).double()
    start = 16 * 10
    picture = torch.rand(1, 3, 32, 480, dtype=torch.double)

    def change_at(distance: int) -> float:
        changed = picture.clone()
        changed[..., start - distance] += 10
        changed[..., start + STRIDE - 1 + distance] += 10
        stride_window = slice(start, start + STRIDE)
        with torch.no_grad():
            return float((built(changed) - built(picture))[..., stride_window].abs().max())

    assert change_at(REACH + 1) == 0
    assert max(change_at(distance) for distance in range(REACH - STRIDE + 1, REACH + 1)) > 0


def test_smaller_networks_have_larger_windows() -> None:
    with torch.device("meta"):
        sides = [window_side(UNet(width, 1)) for width in (16, 64)]
    assert sides == [1168, 576]


def test_windows_are_larger_than_their_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "WINDOW_BYTES", 1)
    assert window_side(network(1)) == 256


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(328, 488), (331, 490)])
def test_a_residual_network_gets_the_full_picture_of_any_size(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "WINDOW_BYTES", 1)  # a U-Net would get 256 pixels at once
    photograph, task = noise(*shape), filter_task()
    photograph[:, :200] //= 8  # otherwise windows would be normalised alike
    built = residual(task.head_channels)
    translated = translator(task, window_side(built), built).predict(photograph)
    down, right = (-side % 8 for side in shape)
    padded = np.pad(photograph, ((0, down), (0, right), (0, 0)), mode="reflect")
    picture = torch.from_numpy(
        np.ascontiguousarray(padded.transpose(2, 0, 1))
    )  # the memory format determines the order of summation
    untiled = Predictor(built, task)(picture[None])[..., : shape[0], : shape[1]]
    assert torch.equal(translated, untiled)
    assert (translator(task, 256, built).predict(photograph) - untiled).abs().max() > 0.01


@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (1, 700), (480, 640)])
@pytest.mark.parametrize("make", [filter_task, class_task])
def test_the_output_of_a_residual_network_has_the_size_of_the_picture(
    make: Callable[[], Task], shape: tuple[int, int]
) -> None:
    task = make()
    assert translator(task, None, residual(task.head_channels))(noise(*shape)).shape == (*shape, 3)


def test_a_photograph_too_large_for_memory_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    task = filter_task()
    run = translator(task, None, residual(task.head_channels, width=4))
    needed = 40 * 30 * (4 * ResblockNetwork.bytes_per_pixel + 22)
    monkeypatch.setattr(translation, "free_memory", lambda: needed)
    assert run(noise(30, 40)).shape == (30, 40, 3)
    monkeypatch.setattr(translation, "free_memory", lambda: needed - 1)
    with pytest.raises(DataError, match=r"^cat\.jpg: 40×30 pixels need .* megapixels, or a method"):
        run(noise(30, 40), "cat.jpg")


def test_windows_take_less_memory_than_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    run = translator(filter_task(), window=256, built=network(3, width=1))
    needed = 1000 * 700 * 22 + 256**2 * UNet.bytes_per_pixel
    monkeypatch.setattr(translation, "free_memory", lambda: needed)
    assert run(noise(700, 1000)).shape == (700, 1000, 3)
    monkeypatch.setattr(translation, "free_memory", lambda: needed - 1)
    with pytest.raises(DataError, match=r"^a\.png: 1000×700 pixels need .* of up to 0\.7 megapixels$"):
        run(noise(700, 1000), "a.png")


@pytest.mark.parametrize("built", [network, residual])
def test_a_working_picture_too_large_for_memory_is_refused_before_it_is_made(
    built: Callable[[int], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = class_task()
    monkeypatch.setattr(translation, "free_memory", lambda: 2**34)
    run = replace(translator(task, None, built(task.head_channels)), size=2**16)
    message = r"^a\.png: 65536×65536 pixels need about .* 16\.0 GiB are free; use a task of smaller"
    with pytest.raises(DataError, match=message):
        run(noise(20, 20), "a.png")
    with pytest.raises(DataError, match=message):
        run.scaled(noise(20, 20), run.size, "a.png")


@pytest.mark.parametrize(("window", "free"), [(None, 2**30), (256, 2**30), (256, 2**23)])
def test_the_remedy_has_the_possible_size(window: int | None, free: int) -> None:
    task = filter_task()
    run = translator(task, window, residual(task.head_channels, width=4))
    side = round((run.megapixels(free) * 1e6) ** 0.5)
    assert run.memory(side, side) == pytest.approx(free, rel=0.01)


def test_the_memory_of_the_system_is_read() -> None:
    assert 2**20 < free_memory() < 2**50


@pytest.mark.parametrize("length", range(32, 1200, 16))
def test_windows_cover_every_pixel_once_with_its_receptive_field(length: int) -> None:
    spans = windows_of(length, 256, REACH)
    kept = [index for span in spans for index in range(length)[span.core]]
    assert kept == list(range(length))
    for span in spans:
        assert span.window.stop - span.window.start == min(length, 256)
        assert span.window.start == 0 or span.core.start - span.window.start >= REACH
        assert span.window.stop == length or span.window.stop - span.core.stop >= REACH
        assert span.window.start % STRIDE == span.core.start % STRIDE == 0


def test_classes_are_chosen_at_full_size_from_interpolated_scores() -> None:
    task = class_task()
    translated = translator(task, built=Ramp())(noise(300, 300))
    scores = F.interpolate(Ramp()(torch.zeros(1, 3, SIZE, SIZE)), (300, 300), mode="bilinear")
    true = palette()[scores.argmax(1)[0].numpy()]
    assert (translated != true).any(axis=2).mean() < 1e-4  # rounding at ties of two classes
    blocks = palette()[Ramp()(torch.zeros(1, 3, SIZE, SIZE)).argmax(1)[0].numpy()].repeat(10, 0).repeat(10, 1)
    assert (translated[:300, :300] != blocks[:300, :300]).any(axis=2).mean() > 0.01  # the argmax was not enlarged


def test_several_bands_give_the_output_of_one_band(monkeypatch: pytest.MonkeyPatch) -> None:
    photograph = noise(200, 300)
    for task in (class_task(), colour_task("rgb")):
        run = translator(task)
        untiled = run(photograph)
        monkeypatch.setattr(translation, "BAND_VALUES", 4 * 300 * 7)
        assert np.array_equal(run(photograph), untiled)
        monkeypatch.undo()


@pytest.mark.parametrize("output", ["rgb", "chroma"])
def test_colorization_keeps_the_luminance_of_every_pixel(output: str) -> None:
    photograph = noise(90, 120)
    photograph[:10] = 0
    photograph[10:20] = 255
    photograph[20:30] = (255, 0, 0)
    translated = translator(colour_task(output))(photograph)
    assert np.abs(translated @ LUMA - photograph @ LUMA).max() <= 0.51  # of 255; half a level is the rounding
    assert (translated.max(2).astype(int) - translated.min(2)).mean() > 3  # not grey


@torch.inference_mode()
def test_colorization_uses_the_colour_of_the_prediction() -> None:
    grey = torch.full((1, 3, 4, 4), 128, dtype=torch.uint8)
    orange = torch.tensor([0.7, 0.5, 0.3])[None, :, None, None].expand(1, 3, 4, 4)
    refined = colour_task("rgb").refine(orange, grey)
    torch.testing.assert_close(chroma(refined), chroma(orange))
    torch.testing.assert_close(luminance(refined), torch.full((1, 1, 4, 4), 128 / 255))


def test_colour_out_of_gamut_is_desaturated_and_not_clipped() -> None:
    luma = torch.tensor([0.9, 0.0, 1.0, 0.5]).reshape(4, 1, 1, 1)
    blue = torch.tensor([0.4, 0.0]).reshape(1, 2, 1, 1).expand(4, 2, 1, 1)
    translated = within_gamut(luma, blue).reshape(4, 2)
    # blue = luma + 1.772 Cb ≤ 1: at 0.9 Cb ≤ 0.1 / 1.772; at black green would be negative, at white blue above 1.
    expected = torch.tensor([[0.1 / 1.772, 0], [0, 0], [0, 0], [0.5 / 1.772, 0]])
    torch.testing.assert_close(translated, expected)
    rgb = with_chroma(luma, within_gamut(luma, blue))
    assert rgb.min() >= -1e-6 and rgb.max() <= 1 + 1e-6


def test_pictures_of_any_size_are_padded_by_reflection() -> None:
    row = np.array([[[1] * 3, [2] * 3, [3] * 3]], np.uint8)
    padded = padded_to_stride(row, STRIDE)
    assert padded.shape == (32, 32, 3)
    assert padded[0, :9, 0].tolist() == [1, 2, 3, 2, 1, 2, 3, 2, 1]
    assert (padded == padded[:1]).all()
    assert padded_to_stride(noise(33, 48), STRIDE).shape == (48, 48, 3)
    assert padded_to_stride(noise(33, 48), ResblockNetwork.stride).shape == (40, 48, 3)
    assert padded_to_stride(noise(1, 9), ResblockNetwork.stride).shape == (16, 16, 3)


def test_the_shorter_side_is_resized_to_the_size_of_training() -> None:
    assert working_size(3000, 4000, 96) == (96, 128)
    assert working_size(500, 333, 96) == (144, 96)
    assert working_size(1, 1, 96) == (96, 96)
    assert working_size(20000, 1, 96) == (20000, 1)  # instead of 1,920,000 × 96
    assert working_size(10, 400, 96) == (38, 1536)


def test_a_prediction_larger_than_the_picture_is_averaged() -> None:
    stripes = torch.tensor([1.0, *[0.0] * 7]).repeat(8).expand(1, 1, 8, 64)
    translated = resampled(stripes, 1, 8)[0, 0, 0, 1:-1]
    torch.testing.assert_close(translated, torch.full((6,), 1 / 8), rtol=0, atol=0.01)  # all stripes count


def test_outputs_get_unused_names() -> None:
    folder = Path("out")
    photographs = [Path("a/cat.jpg"), Path("b/cat.png"), Path("c/Cat.tif"), Path("dog.jpg")]
    names = [path.name for path in output_paths(photographs, "colorize", folder)]
    assert names == ["cat-colorize.png", "cat-2-colorize.png", "Cat-3-colorize.png", "dog-colorize.png"]
    photographs = [Path("out/cat.jpg"), Path("out/cat-colorize.png")]
    names = [path.name for path in output_paths(photographs, "colorize", folder)]
    assert names == ["cat-2-colorize.png", "cat-colorize-colorize.png"]
