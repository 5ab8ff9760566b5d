"""U-Net over networks of timm, and their initial weights."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import nn

from palimpsest.errors import DataError, SettingsError
from palimpsest.networks import build_network
from palimpsest.networks.backbone import BackboneUNet
from palimpsest.networks.published import provide_encoder
from palimpsest.networks.receptive_field import reach
from palimpsest.networks.unet import UNet
from palimpsest.networks.unet_settings import UNetSettings

SMALL = "test_efficientnet"
"""Smallest network of timm, made for tests."""


def build(encoder: str = SMALL, **settings: Any) -> BackboneUNet:
    network = build_network(UNetSettings(width=4, encoder=encoder, **settings), head_channels=5)
    assert isinstance(network, BackboneUNet)
    return network.eval()


@pytest.mark.parametrize("encoder", [SMALL, "test_resnet", "convnext_atto", "vgg11_bn", "mobilenetv2_050"])
def test_the_output_has_the_size_of_the_input(encoder: str) -> None:
    network = build(encoder)
    assert network.stride == 32
    assert network(torch.rand(2, 3, 64, 96)).shape == (2, 5, 64, 96)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("tf_eficientnet_lite0", r"unknown network of timm 'tf_eficientnet_lite0'; did you mean 'tf_efficientnet_"),
        ("vit_tiny_patch16_224", r"has a layer that is no convolution \(.*\); choose a network of convolutions$"),
        ("inception_v3", r"inception_v3 has layers without padding; choose another network$"),
        ("inception_resnet_v2", r"inception_resnet_v2 has layers without padding; choose another network$"),
    ],
)
def test_an_encoder_that_is_no_network_of_convolutions_is_refused(encoder: str, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"^network\.encoder: .*{message}"):
        build(encoder)


def test_the_picture_is_normalised_as_the_weights_expect() -> None:
    network = build("test_resnet")
    mean = torch.tensor(network.encoder.backbone.default_cfg["mean"])
    seen = []
    network.encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(mean.view(1, 3, 1, 1).expand(1, 3, 32, 32))
    assert seen[0].abs().max() < 1e-6


@pytest.mark.parametrize("encoder", [SMALL, "test_resnet", "convnext_atto", "vgg11_bn"])
def test_features_of_all_scales_enter_the_decoder_with_one_deviation(encoder: str) -> None:
    network = build(encoder).train()
    with torch.no_grad():
        for parameter in network.encoder.backbone.parameters():
            parameter.mul_(3)
        features = network.encoder(2 * torch.rand(4, 3, 64, 64) - 1)
    deviations = [feature.std().item() for feature in features[1:] if feature.shape[1]]
    assert deviations == pytest.approx([1] * len(deviations), abs=0.1)


@pytest.mark.parametrize(("kernel", "dilation"), [(2, 1), (3, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_constant_padding_is_that_of_sides_which_are_multiples_of_the_stride(
    kernel: int, stride: int, dilation: int
) -> None:
    options = {"kernel_size": kernel, "stride": stride, "dilation": dilation}
    layers = [Conv2dSame(3, 3, **options), MaxPool2dSame(**options)]
    network, picture = build(), torch.randn(1, 3, 3 * stride, 8 * stride)
    for layer in layers:
        expected = layer(picture)
        with network.constant_padding():
            assert torch.equal(layer(picture), expected)
    uneven = torch.randn(1, 3, 4 * stride + 1, 8)
    with network.constant_padding():
        constant = layers[0](uneven).shape
    assert (constant == layers[0](uneven).shape) == (stride == 1)


@pytest.mark.parametrize(
    ("encoder", "pixels"),
    [
        ("mobilenetv2_050", 320),  # 253 of the encoder and 62 of the decoder
        ("vgg11_bn", 160),
        ("mobilenetv3_small_050", None),  # its squeeze-and-excitation pools over the whole picture
    ],
)
def test_the_receptive_field_is_that_of_all_layers(encoder: str, pixels: int | None) -> None:
    assert build(encoder).reach == pixels


def test_the_measured_receptive_field_of_the_study_is_the_documented_one() -> None:
    assert reach(UNet(2, 1), UNet.stride) == UNet.reach


def test_nothing_beyond_the_receptive_field_changes_a_window() -> None:
    network = build("mobilenetv2_050")
    assert network.reach is not None
    picture = torch.rand(1, 3, 64, 2 * network.reach + 64)
    changed = picture.clone()
    changed[..., 32 + network.reach :] = 0
    with torch.inference_mode():
        difference = (network(picture) - network(changed)).abs().amax(dim=(0, 1, 2))
    assert difference[:32].max() == 0 and difference[32 + network.reach :].max() > 0


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("encoder", [SMALL, "test_resnet"])
def test_initial_weights_come_from_a_file_with_timms_names(
    tmp_path: Path, suffix: str, encoder: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(1)
    source = timm.create_model(encoder, num_classes=3).eval()
    path = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(source.state_dict(), path)
    network = build(encoder)
    network.load_initial(path)
    assert not caplog.records
    picture = torch.rand(1, 3, 64, 64)
    expected = source.forward_intermediates((picture - network.encoder.mean) / network.encoder.std)[1]
    features = network.encoder(picture)[1:]
    assert len(expected) == len(features) == 5
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(features, expected, strict=True))


@pytest.mark.parametrize("fault", ["no file", "garbage", "a tensor is missing", "another network"])
def test_a_file_without_the_weights_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "weights.safetensors"
    state = timm.create_model("test_resnet" if fault == "another network" else SMALL).state_dict()
    if fault == "a tensor is missing":
        del state["conv_stem.weight"]
    if fault == "garbage":
        path.write_bytes(b"garbage")
    elif fault != "no file":
        save_file(state, path)
    message = (
        rf"weights\.safetensors: [^\n]*; set network\.encoder_weights to a file with timm's weights of {SMALL}$"
    )
    with pytest.raises(DataError, match=message):
        build().load_initial(path)


def test_networks_fit_each_other_whatever_their_initial_weights() -> None:
    downloaded = UNetSettings(encoder=SMALL).with_weights(lambda name: Path(f"{name}.safetensors"))
    assert downloaded.initial_weights == Path(f"{SMALL}.safetensors")
    assert downloaded.fits(UNetSettings(encoder=SMALL, encoder_weights="random"))
    assert not downloaded.fits(UNetSettings(encoder="test_resnet"))
    assert UNetSettings().with_weights(Path).initial_weights is None
    assert UNetSettings(encoder=SMALL, encoder_weights="random").with_weights(Path).initial_weights is None


def test_downloaded_weights_are_those_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = timm.create_model(SMALL)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: source)
    path = tmp_path / "weights" / f"{SMALL}.safetensors"
    provide_encoder(SMALL, path)
    monkeypatch.undo()
    network = build()
    network.load_initial(path)
    assert torch.equal(network.encoder.backbone.conv_stem.weight, source.conv_stem.weight)


@pytest.mark.parametrize("error", [FileNotFoundError("no connection\nsecond line"), RuntimeError("no weights")])
def test_weights_that_cannot_be_downloaded_are_named_with_the_way_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def create_model(name: str, pretrained: bool) -> None:
        raise error

    monkeypatch.setattr(timm, "create_model", create_model)
    message = (
        rf"^network\.encoder: weights of {SMALL} cannot be downloaded \(no \w+\); set network\.encoder_weights to "
        "a file with timm's weights, or to random$"
    )
    with pytest.raises(DataError, match=message):
        provide_encoder(SMALL, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())


def test_depthwise_convolutions_compute_in_float32_under_autocast_on_the_cpu() -> None:
    network = build().train()
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            depthwise = layer.groups > 1
            layer.register_forward_hook(
                lambda _, inputs, output, depthwise=depthwise: seen[depthwise].add(output.dtype)
            )
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.rand(2, 3, 64, 64)).float().sum().backward()
        assert torch.is_autocast_enabled("cpu")
    assert seen == {True: {torch.float32}, False: {torch.bfloat16}}


def test_grouped_convolutions_that_are_not_depthwise_stay_in_bfloat16() -> None:
    network = build("regnety_002").train()
    grouped = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert grouped(torch.rand(1, grouped.in_channels, 8, 8)).dtype == torch.bfloat16


def test_an_error_in_a_depthwise_convolution_leaves_autocast_on() -> None:
    network = build()
    depthwise = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError):
            depthwise(torch.rand(1, depthwise.in_channels + 1, 8, 8))
        assert torch.is_autocast_enabled("cpu")
