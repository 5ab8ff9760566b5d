import pytest
import torch
from torch import nn

from palimpsest.networks import build_network
from palimpsest.networks.unet import Stage, UNet, UpBlock, init_nearest_neighbour
from palimpsest.networks.unet_settings import UNetSettings

MIB = 2**20


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def study() -> UNet:
    """Return the study's network."""
    return build_network(UNetSettings(), head_channels=21)


def test_the_network_of_the_study_has_its_parameters_and_its_size(study: UNet) -> None:
    assert parameters(study) == 14_785_301
    assert round(4 * parameters(study) / MIB, 2) == 56.40


def test_the_decoder_of_the_study_has_its_size(study: UNet) -> None:
    assert round(4 * (parameters(study.decoder) + parameters(study.head)) / MIB, 2) == 20.51


def test_a_mask_over_the_network_of_the_study_has_its_size(study: UNet) -> None:
    weights = [p for name, p in study.named_parameters() if p.ndim == 4]
    assert sum(weight.numel() for weight in weights) == 14_777_344
    assert round(14_777_344 / 8 / MIB, 2) == 1.76


def test_no_convolution_except_the_head_has_a_bias(study: UNet) -> None:
    convolutions = {n: m for n, m in study.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)}
    assert len(convolutions) == 23
    assert [name for name, module in convolutions.items() if module.bias is not None] == ["head"]


def test_the_channels_are_those_of_the_study(study: UNet) -> None:
    stages = [[m.out_channels for m in stage if isinstance(m, nn.Conv2d)] for stage in study.encoder.stages]
    assert stages == [[64, 64], [128, 128], [256, 256], [512, 512], [512, 512]]
    up_blocks = [(r.up.in_channels, r.up.out_channels, r.stage[0].in_channels) for r in study.decoder.up_blocks]
    assert up_blocks == [(512, 512, 1024), (256, 256, 512), (128, 128, 256), (64, 64, 128)]
    assert [up_block.stage[3].out_channels for up_block in study.decoder.up_blocks] == [256, 128, 64, 64]
    assert (study.head.in_channels, study.head.out_channels, study.head.kernel_size) == (64, 21, (1, 1))
    assert study.head_width == 64


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("shape", [(32, 32), (32, 48), (64, 16 * 5)])
def test_the_output_has_the_size_of_the_input(padding: str, shape: tuple[int, int]) -> None:
    network = build_network(UNetSettings(width=2, padding=padding), head_channels=5).eval()  # type: ignore[arg-type]
    assert network(torch.rand(2, 3, *shape)).shape == (2, 5, *shape)


def test_the_encoder_returns_one_feature_map_per_stage_in_halving_sizes() -> None:
    features = UNet(2, 1).eval().encoder(torch.rand(1, 3, 64, 32))
    assert [tuple(f.shape[1:]) for f in features] == [
        (2, 64, 32),
        (4, 32, 16),
        (8, 16, 8),
        (16, 8, 4),
        (16, 4, 2),
    ]


def test_the_skip_is_concatenated_after_the_upsampled_features() -> None:
    up_block = UpBlock(2, 3, 4, "zeros").eval()
    inputs: list[torch.Tensor] = []
    up_block.stage.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    below, skip = torch.rand(1, 2, 4, 4), torch.rand(1, 3, 8, 8)
    assert up_block(below, skip).shape == (1, 4, 8, 8)
    assert torch.equal(inputs[0][:, 2:], skip)
    assert torch.equal(inputs[0][:, :2], up_block.up(below))


def test_pictures_are_centred_before_the_first_convolution() -> None:
    network = UNet(1, 1).eval()
    inputs: list[torch.Tensor] = []
    network.encoder.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    network(torch.tensor([0.0, 0.5, 1.0])[None, :, None, None].expand(1, 3, 32, 32))
    assert inputs[0][0, :, 0, 0].tolist() == [-1, 0, 1]


def test_the_padding_is_that_of_the_settings() -> None:
    for padding in ("zeros", "reflect", "replicate"):
        network = build_network(UNetSettings(width=1, padding=padding), 1)
        modes = {m.padding_mode for m in network.modules() if isinstance(m, nn.Conv2d) and m is not network.head}
        assert modes == {padding}


def test_transposed_convolutions_start_as_nearest_neighbour_with_a_little_noise() -> None:
    up = nn.ConvTranspose2d(64, 64, 2, stride=2, bias=False)
    init_nearest_neighbour(up)
    x = torch.rand(1, 64, 4, 4)
    difference = up(x) - x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert 0 < difference.std() < 0.15


def test_convolutions_start_with_a_variance_that_preserves_that_of_the_signal() -> None:
    torch.manual_seed(0)
    stage = UNet(16, 1).encoder.stages[3]
    assert isinstance(stage, Stage)
    expected = (2 / (64 * 9)) ** 0.5  # He et al. 2015
    assert stage[0].weight.std().item() == pytest.approx(expected, rel=0.02)


def test_the_same_seed_gives_the_same_network() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(UNet(2, 3).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
