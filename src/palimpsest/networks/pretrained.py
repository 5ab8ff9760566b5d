"""The first weights of an encoder from a file of VGG weights."""

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

    VGG-13 has two per stage, as our encoder; VGG-16 a third in its later stages, which has no place here. A stage
    of the file ends where a pooling stands between two convolutions. Their biases are left out.

    Raises:
        DataError: the file is missing or unreadable, its stages have other shapes than the encoder's, or
            the network has no encoder.
    """
    stages = stages_of(read_weights(path))
    layers = [(name, layer) for name, layer in trunk_layers(network) if name.startswith("encoder")]
    if not layers:
        raise DataError(f"{path}: the network has no encoder for these weights; remove base.encoder_weights")
    found = [weight for stage in stages for weight in stage[:2]]
    for place, (name, layer) in enumerate(layers):
        shape = tuple(layer.weight.shape)
        given = tuple(found[place].shape) if place < len(found) else None
        if given != shape:
            raise DataError(
                f"{path}: expected {shape} for {name}, found {given or 'nothing'}; "
                "base.encoder_weights needs VGG weights and network.width: 64"
            )
        with torch.no_grad():
            layer.weight.copy_(found[place])


def stages_of(state: Mapping[str, Tensor]) -> list[list[Tensor]]:
    """Return the convolutions' weights by stage; in torchvision's list they are two apart, three over a pooling."""
    places = sorted(
        int(name.split(".")[1])
        for name, tensor in state.items()
        if re.fullmatch(r"features\.\d+\.weight", name) and tensor.ndim == 4
    )
    stages: list[list[Tensor]] = []
    for before, place in zip([-9, *places], places, strict=False):
        if place - before > 2:
            stages.append([])
        stages[-1].append(state[f"features.{place}.weight"].float())
    return stages
