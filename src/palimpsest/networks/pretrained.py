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
    """Copy VGG weights (torchvision's ``features.N.weight``) from a file into the encoder of a network, in place.

    The encoder has two convolutions per stage, as VGG-13. The third convolution in later stages of VGG-16 is
    skipped. Biases are ignored.

    Raises:
        DataError: the file is missing or unreadable, a shape differs, or the network has no encoder; the message
            names the setting `base.encoder_weights`.
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
                f"{path}: expected shape {expected} for {name}, found {actual or 'no tensor'}; "
                "set base.encoder_weights to a file of VGG weights, and network.width to 64"
            )
        with torch.no_grad():
            layer.weight.copy_(weights[index])


def stages_of(state: Mapping[str, Tensor]) -> list[list[Tensor]]:
    """Return the convolution weights of each stage of a torchvision VGG, in their order.

    A pooling layer ends a stage: indices of convolutions differ by 2 within a stage and by 3 across a pooling
    layer.
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
