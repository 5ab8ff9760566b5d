"""Initial weights of an encoder from a file of VGG weights."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from palimpsest.errors import DataError
from palimpsest.networks.perceptual import read_weights
from palimpsest.networks.trunk import trunk_layers


def load_encoder(network: nn.Module, path: Path) -> None:
    """Copy the first two convolutions of each stage of a VGG file (torchvision's ``features.N.weight``).

    VGG-13 has two convolutions per stage, as the encoder here; VGG-16 has a third in its later stages, which is
    skipped. A pooling layer between two convolutions ends a stage of the file. Biases are ignored.

    Raises:
        DataError: the file is missing or unreadable, a shape differs, or the network has no encoder.
    """
    stages = stages_of(read_weights(path))
    layers = [(name, layer) for name, layer in trunk_layers(network) if name.startswith("encoder")]
    if not layers:
        raise DataError(f"{path}: the network has no encoder for these weights; remove base.encoder_weights")
    weights = [weight for stage in stages for weight in stage[:2]]
    for index, (name, layer) in enumerate(layers):
        expected = tuple(layer.weight.shape)
        actual = tuple(weights[index].shape) if index < len(weights) else None
        if actual != expected:
            raise DataError(
                f"{path}: expected {expected} for {name}, found {actual or 'nothing'}; "
                "base.encoder_weights needs VGG weights and network.width: 64"
            )
        with torch.no_grad():
            layer.weight.copy_(weights[index])


def stages_of(state: Mapping[str, Tensor]) -> list[list[Tensor]]:
    """Return the weights of the convolutions by stage.

    In torchvision's list, indices of convolutions differ by 2 within a stage and by 3 across a pooling layer.
    """
    indices = sorted(
        int(name.split(".")[1])
        for name, tensor in state.items()
        if re.fullmatch(r"features\.\d+\.weight", name) and tensor.ndim == 4
    )
    stages: list[list[Tensor]] = []
    for before, index in zip([-9, *indices], indices, strict=False):
        if index - before > 2:
            stages.append([])
        stages[-1].append(state[f"features.{index}.weight"].float())
    return stages
