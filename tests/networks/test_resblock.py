"""Residual networks of the study: sizes, shapes and the blocks of a task."""

import pytest
import torch
from torch import nn

from palimpsest.groups import TrainingSettings
from palimpsest.methods import METHODS, method_class
from palimpsest.methods.base import Start
from palimpsest.networks.resblock import HEAD_GAIN, InstanceNorm, ResblockNetwork, ResidualBlock
from palimpsest.networks.trunk import trunk_state

MIB = 2**20


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_auto_encoder_and_a_pair_of_blocks_have_the_studys_sizes() -> None:
    network = ResblockNetwork(64, 21, blocks=1)
    shared = parameters(network) - parameters(network.blocks) - parameters(network.head)
    assert round(4 * shared / MIB, 2) == 8.66
    assert 4 * sum(p.numel() for p in network.blocks.parameters() if p.ndim == 4) / MIB == 22.5


@pytest.mark.parametrize(("method", "mib"), [("resblock6", 683.7), ("resblock9", 1021.2)])
def test_five_tasks_have_the_studys_size(method: str, mib: float) -> None:
    settings = METHODS[method].network
    assert settings is not None
    with torch.device("meta"):
        network = ResblockNetwork(64, 21, blocks=settings["blocks"])
        shared = trunk_state(ResblockNetwork(64, 3, blocks=0))
    learner = method_class(method)()
    learner.begin_task(Start(network, None, TrainingSettings()))  # type: ignore[arg-type]
    (blocks,) = (component for component in learner.store(network) if component.name == "blocks")
    sizes = [sum(tensor.nbytes for tensor in part.values()) / MIB for part in (shared, blocks.tensors)]
    assert round(round(sizes[0], 1) + 5 * round(sizes[1], 1), 1) == mib


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_the_output_has_the_size_of_the_input(blocks: int, shape: tuple[int, int]) -> None:
    network = ResblockNetwork(2, 5, blocks=blocks)
    assert all(side % network.stride == 0 for side in shape)
    assert network(torch.rand(2, 3, *shape)).shape == (2, 5, *shape)
    assert network.encode(torch.rand(2, 3, *shape)).shape == (2, 16, shape[0] // 8, shape[1] // 8)


def test_blocks_start_as_the_identity() -> None:
    torch.manual_seed(0)
    plain, network = ResblockNetwork(2, 5, blocks=0), ResblockNetwork(2, 5, blocks=3)
    network.load_state_dict(plain.state_dict(), strict=False)
    pictures = torch.rand(2, 3, 32, 32)
    assert torch.equal(network(pictures), plain(pictures))
    for name, parameter in network.blocks.named_parameters():
        if name.endswith("layers.4.weight"):
            nn.init.ones_(parameter)
    assert not torch.allclose(network(pictures), plain(pictures))


def test_the_scale_of_a_block_is_the_deviation_it_adds() -> None:
    block = ResidualBlock(3, "reflect")
    nn.init.constant_(block.layers[-1].weight, 0.5)
    x = torch.randn(2, 3, 8, 8)
    added = block(x) - x
    assert added.mean((2, 3)).abs().max() < 1e-5  # instance normalisation
    assert torch.allclose(added.std((2, 3), correction=0), torch.full((2, 3), 0.5), atol=1e-2)


def test_rounding_errors_of_a_flat_channel_are_not_amplified() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 2, 8, 8)
    x[0, 1] = 1 + 1e-6 * torch.rand(8, 8)
    normalised, plain = InstanceNorm(2)(x), nn.InstanceNorm2d(2)(x)
    assert normalised[0, 1].abs().max() < 1e-3
    torch.testing.assert_close(normalised[:, 0], plain[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(normalised[1], plain[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_learned_parameters_of_a_norm_apply_to_all_but_flat_channels(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 2, 8, 8).to(precision)
    x[0, 1] = 1
    norm, plain = InstanceNorm(2, affine=True), nn.InstanceNorm2d(2, affine=True)
    for module in (norm, plain):
        module.load_state_dict({"weight": torch.tensor([2.0, 3.0]), "bias": torch.tensor([-1.0, 0.5])})
    normalised = norm(x.requires_grad_())
    assert normalised.dtype is precision and normalised[0, 1].flatten().tolist() == [0.5] * 64
    torch.testing.assert_close(normalised, plain(x.float()).to(precision), atol=1e-5, rtol=1e-2)
    normalised.square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad[0, 1].eq(0).all()


def gradient(network: ResblockNetwork, pictures: torch.Tensor) -> float:
    network.zero_grad()
    network(pictures).square().mean().backward()
    gradients = [parameter.grad for parameter in network.blocks.parameters()]
    return torch.stack([part.norm() for part in gradients if part is not None]).norm().item()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_flat_picture_does_not_reduce_the_gradient_of_its_batch(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    network = ResblockNetwork(8, 5, blocks=9)
    for name, parameter in network.blocks.named_parameters():
        if name.endswith("layers.4.weight"):
            nn.init.normal_(parameter, std=0.3)
    varied = torch.rand(4, 3, 32, 32)
    white = torch.cat([torch.ones(1, 3, 32, 32), varied[1:]])
    with torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
        expected, actual = gradient(network, varied), gradient(network, white)
    assert expected / 3 < actual < 3 * expected


@pytest.mark.parametrize(("width", "most"), [(64, 1e-6), (16, 0.03), (2, 0.15), (1, 0.2)])
def test_the_auto_encoder_starts_near_the_identity(width: int, most: float) -> None:
    torch.manual_seed(0)
    network = ResblockNetwork(width, 3)
    pictures = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), scale_factor=4, mode="bilinear")
    network.head = nn.Identity()
    with torch.no_grad():
        returned = (network(pictures)[:, -3:] / HEAD_GAIN + 1) / 2
    assert (returned - pictures).abs().mean() < most


def test_a_head_of_pictures_starts_with_the_input() -> None:
    torch.manual_seed(0)
    pictures = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), scale_factor=4, mode="bilinear")
    returned = ResblockNetwork(64, 3, blocks=2)(pictures).sigmoid()
    assert (returned - pictures).abs().mean() < 0.1


def test_the_auto_encoder_learns_to_return_its_input_better() -> None:
    torch.manual_seed(0)
    network = ResblockNetwork(8, 3)
    pictures = torch.nn.functional.interpolate(torch.rand(8, 3, 4, 4), size=32, mode="bilinear")
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
    losses = []
    for _ in range(60):
        loss = (network(pictures).sigmoid() - pictures).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
