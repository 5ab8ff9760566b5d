"""Checks of every network when it is built."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from palimpsest.errors import CodeError
from palimpsest.networks import NETWORKS, NetworkEntry, build_network
from palimpsest.networks.settings import NetworkSettings
from palimpsest.networks.trunk import normalisation_state, task_parameters, trunk_state
from tests.networks.convnext import ConvNeXt


class Tied(ConvNeXt):
    """Network whose two layers share a weight."""

    def __init__(self, width: int, head_channels: int) -> None:
        super().__init__(width, head_channels)
        self.encoder.fine[2].project.weight = self.decoder.mix[1].project.weight


class Normed(ConvNeXt):
    """Network with a weight that is computed from two others."""

    def __init__(self, width: int, head_channels: int) -> None:
        super().__init__(width, head_channels)
        weight_norm(self.decoder.up)


class TwoLayers(ConvNeXt):
    """Network whose head has two layers."""

    def __init__(self, width: int, head_channels: int) -> None:
        super().__init__(width, head_channels)
        self.head = nn.Sequential(nn.Conv2d(width, width, 1), nn.Conv2d(width, head_channels, 1))


class Gain(nn.Module):
    """Custom normalisation layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 1)
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Any) -> Any:
        return self.inner(x) * self.gain[:, None, None]


class CustomNormalisation(ConvNeXt):
    """Network that adds a class of normalisation, with persistent and other buffers."""

    normalisation = (*ConvNeXt.normalisation, Gain)

    def __init__(self, width: int, head_channels: int) -> None:
        super().__init__(width, head_channels)
        self.encoder.fine.append(Gain(width))
        self.header = nn.Linear(width, width)
        self.register_buffer("grid", torch.rand(3))
        self.register_buffer("cached", torch.rand(3), persistent=False)


def entered(monkeypatch: pytest.MonkeyPatch, network: type[ConvNeXt], **facts: Any) -> NetworkSettings:
    """Enter a network in `NETWORKS` and return its settings."""
    monkeypatch.setattr("tests.networks.convnext.Other", network, raising=False)
    monkeypatch.setitem(NETWORKS, "other", NetworkEntry("tests.networks.convnext:Other", **facts))
    return NetworkSettings(name="other", width=4)


@pytest.mark.parametrize(
    ("network", "facts", "message"),
    [
        (Tied, {}, r":Other: encoder\.fine\.2\.project\.weight is trained 2 times, as when two layers share"),
        (Normed, {}, r":Other: decoder\.up\.parametrizations\.weight\.original0 is in no part of"),
        (TwoLayers, {}, r":Other: head\.weight is missing; make the head a convolution .* \(3, 4, 1, 1\)$"),
        (
            ConvNeXt,
            {"kernels_only": True},
            r":Other: encoder\.fine\.2\.expand\.weight is not a 4-D kernel; set kernels_only to False",
        ),
        (
            ConvNeXt,
            {"submodules": ("encoder", "blocks")},
            r":Other: the submodule 'blocks' has no weights; remove it from submodules in the row of NETWORKS$",
        ),
    ],
)
def test_a_network_that_cannot_be_stored_in_full_is_refused(
    monkeypatch: pytest.MonkeyPatch, network: type[ConvNeXt], facts: Any, message: str
) -> None:
    settings = entered(monkeypatch, network, **facts)
    with pytest.raises(CodeError, match=message):
        build_network(settings, 3)


def test_a_custom_normalisation_and_buffers_are_assigned_to_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = build_network(entered(monkeypatch, CustomNormalisation), 3)
    added = {f"encoder.fine.3.{key}" for key in ("gain", "inner.weight", "inner.bias")}
    assert added <= normalisation_state(network).keys()
    trunk = trunk_state(network)
    assert {"header.weight", "header.bias", "grid"} <= trunk.keys()
    assert not (added | {"cached"}) & trunk.keys()
    assert id(network.get_parameter("encoder.fine.3.gain")) in map(id, task_parameters(network))
