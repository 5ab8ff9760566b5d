from pathlib import Path

import pytest
import torch
from torch import Tensor

from palimpsest.errors import DataError
from palimpsest.networks.pretrained import load_encoder
from palimpsest.networks.resblock import ResblockNetwork
from palimpsest.networks.trunk import trunk_state
from palimpsest.networks.unet import UNet

VGG13 = (2, 2, 2, 2, 2)
VGG16 = (2, 2, 3, 3, 3)


def vgg(convolutions: tuple[int, ...], width: int = 2) -> dict[str, Tensor]:
    """Return weights under torchvision's names with reduced channels, each filled with its index."""
    state, index, before, number = {}, 0, 3, 0
    for factor, count in zip((1, 2, 4, 8, 8), convolutions, strict=True):
        for _ in range(count):
            state[f"features.{index}.weight"] = torch.full((width * factor, before, 3, 3), float(number))
            state[f"features.{index}.bias"] = torch.ones(width * factor)
            before, index, number = width * factor, index + 2, number + 1
        index += 1  # max-pooling
    state["classifier.0.weight"] = torch.ones(10, before)
    return state


def numbers(network: UNet) -> list[float]:
    """Return the index of the file's convolution in each layer of the encoder."""
    return [weight.unique().item() for weight in trunk_state(network, "encoder").values()]


@pytest.mark.parametrize(
    ("convolutions", "taken"),
    [
        (VGG13, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (VGG16, [0, 1, 2, 3, 4, 5, 7, 8, 10, 11]),  # the first two of each stage
    ],
)
def test_each_stage_gets_the_first_convolutions_of_its_stage_in_the_file(
    tmp_path: Path, convolutions: tuple[int, ...], taken: list[float]
) -> None:
    torch.save(vgg(convolutions), tmp_path / "vgg.pth")
    network = UNet(2, 3)
    load_encoder(network, tmp_path / "vgg.pth")
    assert numbers(network) == taken


def test_decoder_head_and_batchnorm_are_unchanged(tmp_path: Path) -> None:
    torch.save(vgg(VGG16), tmp_path / "vgg.pth")
    network = UNet(2, 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_encoder(network, tmp_path / "vgg.pth")
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(trunk_state(network, "encoder"))


def test_half_precision_is_read(tmp_path: Path) -> None:
    torch.save({name: tensor.half() for name, tensor in vgg(VGG13).items()}, tmp_path / "vgg.pth")
    network = UNet(2, 3)
    load_encoder(network, tmp_path / "vgg.pth")
    assert numbers(network)[:3] == [0, 1, 2]
    assert all(weight.dtype == torch.float32 for weight in trunk_state(network).values())


def test_a_network_of_another_width_is_refused(tmp_path: Path) -> None:
    torch.save(vgg(VGG16, width=4), tmp_path / "vgg.pth")
    with pytest.raises(DataError, match=r"vgg\.pth: expected shape \(2, 3, 3, 3\) for encoder.*width to 64"):
        load_encoder(UNet(2, 3), tmp_path / "vgg.pth")


def test_weights_for_a_network_without_an_encoder_are_refused(tmp_path: Path) -> None:
    torch.save(vgg(VGG13), tmp_path / "vgg.pth")
    with pytest.raises(DataError, match=r"vgg\.pth: the network has no encoder .*; remove base\.encoder_weights$"):
        load_encoder(ResblockNetwork(2, 3), tmp_path / "vgg.pth")


@pytest.mark.parametrize("content", [[1, 2], {"features.0.weight": 3}, torch.zeros(3)])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "vgg.pth")
    with pytest.raises(DataError, match=r"vgg\.pth"):
        load_encoder(UNet(2, 3), tmp_path / "vgg.pth")


def test_a_missing_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.pth"):
        load_encoder(UNet(2, 3), tmp_path / "nowhere.pth")
    torch.save(vgg(VGG13), tmp_path / "vgg.pth")
    content = (tmp_path / "vgg.pth").read_bytes()
    (tmp_path / "vgg.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"vgg\.pth"):
        load_encoder(UNet(2, 3), tmp_path / "vgg.pth")
