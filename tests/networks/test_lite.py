"""EfficientNet-Lite with its published weights as the encoder."""

from pathlib import Path

import pytest
import timm
import torch
from skimage import data
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, resize

from palimpsest.networks import build_network
from palimpsest.networks.unet_settings import UNetSettings
from tests.networks.lite import NAMES, lite, package_of, write_lite

CATS, CUPS = range(281, 286), (504, 967, 968)
"""Classes of ImageNet: tabby, tiger, Persian, Siamese and Egyptian cat; coffee mug, espresso and cup."""


def photograph(name: str) -> Tensor:
    """Return a photograph of scikit-image, (1, 3, 224, 224) in [0, 1]."""
    picture = torch.from_numpy(getattr(data, name)()).movedim(-1, 0)[None] / 255
    return center_crop(resize(picture, [224]), [224, 224])


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a network whose package is installed; only that of the last has to be."""
    name: str = request.param
    if name != NAMES[-1]:
        pytest.importorskip(package_of(name), reason="the package is not among the development tools")
    return name


@pytest.mark.parametrize(("picture", "classes"), [("chelsea", CATS), ("coffee", CUPS)])
def test_the_weights_recognise_a_photograph(name: str, picture: str, classes: range) -> None:
    network = timm.create_model(name)
    network.load_state_dict(lite(name), strict=False)
    assert int(network.eval()((photograph(picture) - 0.5) / 0.5).argmax()) in classes


def test_the_encoder_has_the_features_of_the_weights(name: str, tmp_path: Path) -> None:
    path = tmp_path / "lite.safetensors"
    write_lite(name, path)
    network = build_network(UNetSettings(width=4, encoder=name, encoder_weights=path), 3).eval()
    network.load_initial(path)
    reference = timm.create_model(name)
    reference.load_state_dict(lite(name), strict=False)
    picture = photograph("chelsea")
    expected = reference.eval().forward_intermediates((picture - 0.5) / 0.5)[1]
    features = network.encoder(2 * picture - 1)[1:]
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(features, expected, strict=True))
    assert features[-1].shape[2:] == (7, 7) and network.stride == 32
    reach = {"tf_efficientnet_lite0": 512, "tf_efficientnet_lite2": 640}
    assert network.reach == reach.get(name, network.reach)
