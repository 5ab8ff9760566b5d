"""The first weights of an encoder from a file of VGG weights."""

from pathlib import Path

import torch
from torch import nn

from palimpsest.errors import DataError
from palimpsest.networks.perceptual import read_weights
from palimpsest.networks.trunk import trunk_layers


def load_encoder(network: nn.Module, path: Path) -> None:
    """Copy VGG convolutions (torchvision's ``features.N.weight``) into the encoder, in order, shape by shape.

    VGG-16 has a third convolution in its later stages, which an encoder of two per stage has no place for: each
    of our layers takes the next convolution of the file that has its shape. Their biases are left out.

    Raises:
        DataError: the file is missing or unreadable, or a layer finds no convolution of its shape.
    """
    state = read_weights(path)
    layers = [layer for name, layer in trunk_layers(network) if name.startswith("encoder")]
    weights = [tensor.float() for name, tensor in state.items() if name.endswith(".weight") and tensor.ndim == 4]
    for layer in layers:
        while weights and weights[0].shape != layer.weight.shape:
            weights.pop(0)
        if not weights:
            raise DataError(
                f"{path}: no convolution of shape {tuple(layer.weight.shape)} is left for the encoder; "
                "base.encoder_weights needs VGG weights and network.width: 64"
            )
        with torch.no_grad():
            layer.weight.copy_(weights.pop(0))
