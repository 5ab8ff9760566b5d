import pytest
import torch
from torch import nn

from palimpsest.networks.convolution import PaddedConvolution, PaddingMode


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (9, 1), (3, 2)])
def test_it_equals_the_convolution_of_pytorch(padding: PaddingMode, size: int, stride: int) -> None:
    convolution = PaddedConvolution(2, 3, size, padding, stride=stride)
    reference = nn.Conv2d(2, 3, size, stride, padding=size // 2, padding_mode=padding)
    reference.load_state_dict(convolution.state_dict())
    x = torch.rand(2, 2, 16, 12)
    assert torch.equal(convolution(x), reference(x))


def test_under_autocast_feature_maps_keep_their_precision() -> None:
    layer, x = PaddedConvolution(2, 2, 3, "reflect"), torch.rand(1, 2, 8, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), torch.profiler.profile() as profile:
        features = layer(x)
    assert features.dtype == torch.bfloat16
    padded = nn.functional.pad(x, [1, 1, 1, 1], mode="reflect")
    assert torch.equal(features, nn.functional.conv2d(padded, layer.weight.bfloat16(), layer.bias.bfloat16()))
    casts = [event for event in profile.events() if event.name == "aten::_to_copy"]
    assert len(casts) <= 2  # of weight and bias
