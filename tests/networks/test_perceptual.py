"""Perceptual networks: their features, frozen weights, and refused weights files."""

from pathlib import Path

import pytest
import torch

from palimpsest.errors import DataError
from palimpsest.networks.perceptual import (
    PERCEPTUAL_NETWORKS,
    RandomFilters,
    network_of,
    read_weights,
    squeezenet_layers,
    vgg16_layers,
)

REAL_WEIGHTS = Path(__file__).parents[2].parent / "shared" / "realdata" / "weights"
REAL_FILES = {
    "squeezenet": REAL_WEIGHTS / "squeezenet1_1_features.pth",
    "vgg16": REAL_WEIGHTS / "vgg16_features_to_relu4_3.pth",
}
needs_real_weights = pytest.mark.skipif(
    not REAL_WEIGHTS.is_dir(), reason="the development data set is not beside the repository"
)


@pytest.fixture
def squeezenet_file(tmp_path: Path) -> Path:
    """Return a file of SqueezeNet's features with random weights under torchvision's names."""
    torch.manual_seed(0)
    path = tmp_path / "squeezenet.pth"
    torch.save({f"features.{key}": value for key, value in squeezenet_layers().state_dict().items()}, path)
    return path


def a_picture(height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_random_filters_are_the_same_every_time():
    torch.manual_seed(1)
    first = RandomFilters()(a_picture())
    torch.manual_seed(2)
    second = RandomFilters()(a_picture())
    for a, b in zip([*first.content, *first.style], [*second.content, *second.style], strict=True):
        assert torch.equal(a, b)


def test_random_filters_leave_the_global_random_state_alone():
    state = torch.get_rng_state()
    RandomFilters()
    assert torch.equal(torch.get_rng_state(), state)


def test_strokes_ignore_a_uniform_colour_and_colours_do_not():
    features = RandomFilters()(torch.tensor([0.8, 0.4, 0.1])[None, :, None, None].expand(1, 3, 64, 64))
    colours, *strokes = features.style
    assert colours.max() > 0.5
    for layer in strokes:
        assert layer.abs().max() < 1e-4


def test_random_content_depends_on_brightness_and_not_on_hue():
    grey = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    # The sum over R, G and B is zero: the brightness is constant.
    tinted = grey + torch.tensor([0.2, -0.15, -0.05])[None, :, None, None]
    network = RandomFilters()
    (a,), (b,) = network.content(grey.expand(1, 3, 64, 64)), network.content(tinted)
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
    assert not torch.allclose(network(grey.expand(1, 3, 64, 64)).style[0], network(tinted).style[0], atol=0.1)


def test_layers_of_squeezenet(squeezenet_file: Path):
    features = PERCEPTUAL_NETWORKS["squeezenet"](squeezenet_file)(a_picture(96, 64))
    assert [f.shape[1] for f in features.style] == [64, 128, 128, 256, 256, 384, 384]
    assert [tuple(f.shape) for f in features.content] == [(2, 256, 11, 7)]


def test_squeezenet_equals_the_layers_of_torchvision(squeezenet_file: Path):
    layers = squeezenet_layers().eval()
    layers.load_state_dict(
        {key.removeprefix("features."): value for key, value in torch.load(squeezenet_file).items()}
    )
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    features = PERCEPTUAL_NETWORKS["squeezenet"](squeezenet_file)(a_picture())
    with torch.no_grad():
        torch.testing.assert_close(features.style[-1], layers[:11]((a_picture() - mean) / std))


@pytest.mark.parametrize("name", ["random", "squeezenet"])
def test_content_alone_equals_content_with_style(name: str, squeezenet_file: Path):
    network = PERCEPTUAL_NETWORKS[name](squeezenet_file)
    for a, b in zip(network.content(a_picture()), network(a_picture()).content, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["random", "squeezenet"])
def test_is_frozen_and_passes_gradients_to_the_picture(name: str, squeezenet_file: Path):
    network = PERCEPTUAL_NETWORKS[name](squeezenet_file)
    network.train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    picture = a_picture().requires_grad_()
    sum(features.square().mean() for features in network(picture).style).backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0


def test_half_precision_and_full_checkpoints_are_read(tmp_path: Path):
    torch.manual_seed(0)
    checkpoint = {f"features.{key}": value.half() for key, value in vgg16_layers().state_dict().items()}
    checkpoint |= {"features.24.weight": torch.zeros(512, 512, 3, 3), "classifier.0.bias": torch.zeros(4096)}
    torch.save(checkpoint, tmp_path / "vgg16.pth")
    features = PERCEPTUAL_NETWORKS["vgg16"](tmp_path / "vgg16.pth")(a_picture())
    assert [tuple(f.shape[1:]) for f in features.style] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8)]
    assert all(f.dtype == torch.float32 for f in features.style)
    assert [tuple(f.shape[1:]) for f in features.content] == [(256, 16, 16)]


def test_another_architecture_is_refused_by_name(squeezenet_file: Path):
    # The first convolution has the same shape in both; the second does not exist in SqueezeNet.
    with pytest.raises(
        DataError, match=r"squeezenet\.pth: not the weights of VGG-16: expected features\.2\.weight"
    ):
        PERCEPTUAL_NETWORKS["vgg16"](squeezenet_file)


def test_another_shape_is_refused_with_both_shapes(squeezenet_file: Path):
    stored = torch.load(squeezenet_file)
    stored["features.3.squeeze.weight"] = torch.zeros(32, 64, 1, 1)
    torch.save(stored, squeezenet_file)
    with pytest.raises(
        DataError, match=r"features\.3\.squeeze\.weight .*\(16, 64, 1, 1\), found .*\(32, 64, 1, 1\)"
    ):
        PERCEPTUAL_NETWORKS["squeezenet"](squeezenet_file)


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"nothing\.pth: the weights file does not exist; correct"):
        PERCEPTUAL_NETWORKS["vgg16"](tmp_path / "nothing.pth")


def test_a_missing_setting_is_refused():
    with pytest.raises(DataError, match=r"no weights file .* SqueezeNet 1\.1; set the path of one"):
        PERCEPTUAL_NETWORKS["squeezenet"](None)


@pytest.mark.parametrize("spoil", ["truncated", "text", "empty", "folder", "list"])
def test_unreadable_file_is_refused(spoil: str, squeezenet_file: Path, tmp_path: Path):
    path = tmp_path / "spoilt.pth"
    if spoil == "truncated":
        path.write_bytes(squeezenet_file.read_bytes()[:100_000])
    elif spoil == "text":
        path.write_text("<html>404</html>")
    elif spoil == "empty":
        path.touch()
    elif spoil == "folder":
        path.mkdir()
    else:
        torch.save([1, 2], path)
    with pytest.raises(DataError, match=r"spoilt\.pth"):
        PERCEPTUAL_NETWORKS["squeezenet"](path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_altered_bytes_is_read_or_refused(tmp_path: Path, zipped: bool):
    path = tmp_path / "altered.pth"
    torch.save({"a.weight": torch.ones(3, 2)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for position in range(0, len(content), 5):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        try:
            read_weights(path)
        except DataError as error:
            assert "altered.pth" in str(error)


@needs_real_weights
@pytest.mark.parametrize("name", ["squeezenet", "vgg16"])
def test_real_weights_are_loaded(name: str):
    features = PERCEPTUAL_NETWORKS[name](REAL_FILES[name])(a_picture())
    for layer in [*features.content, *features.style]:
        assert torch.isfinite(layer).all() and layer.max() > 0


def test_a_file_belongs_to_the_network_of_its_layers(squeezenet_file: Path, tmp_path: Path):
    assert network_of(squeezenet_file) == "squeezenet"
    vgg16 = tmp_path / "vgg16.pth"
    torch.save({f"features.{key}": value for key, value in vgg16_layers().state_dict().items()}, vgg16)
    assert network_of(vgg16) == "vgg16"
    stored = torch.load(vgg16)
    torch.save({key: stored[key] for key in [*stored][:-1]}, vgg16)
    with pytest.raises(DataError, match=r"vgg16\.pth: not the weights of SqueezeNet 1\.1 or VGG-16"):
        network_of(vgg16)
    with pytest.raises(DataError, match=r"lost\.pth: the weights file does not exist"):
        network_of(tmp_path / "lost.pth")
