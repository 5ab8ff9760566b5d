import torch

from palimpsest.networks import build_network
from palimpsest.networks.encoder import EncoderNetwork
from palimpsest.networks.encoder_settings import EncoderSettings
from palimpsest.networks.unet import UNet


def test_the_output_has_the_size_of_the_picture_in_blocks() -> None:
    network = build_network(EncoderSettings(width=2), 3).eval()
    with torch.no_grad():
        output = network(torch.rand(2, 3, 64, 48))
    assert isinstance(network, EncoderNetwork) and output.shape == (2, 3, 64, 48)
    assert torch.equal(output[:, :, ::16, ::16].repeat_interleave(16, 2).repeat_interleave(16, 3), output)


def test_the_encoder_is_that_of_the_unet() -> None:
    names = {name: tensor.shape for name, tensor in EncoderNetwork(4, 3).encoder.state_dict().items()}
    assert names == {name: tensor.shape for name, tensor in UNet(4, 3).encoder.state_dict().items()}


def test_an_output_depends_on_pixels_within_the_reach() -> None:
    network = EncoderNetwork(2, 1).eval()
    side = 2 * network.reach + 3 * network.stride
    first = torch.rand(1, 3, side, side)
    second = first.clone()
    second[..., : network.stride] = 0  # the first columns
    with torch.no_grad():
        changed = (network(first) != network(second)).any(dim=(0, 1, 2)).nonzero()[:, 0]
    assert network.reach <= int(changed.max()) < network.stride + network.reach
