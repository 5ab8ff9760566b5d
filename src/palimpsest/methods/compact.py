"""Normalisation and head of a stored task in few bytes: BatchNorm as scale and shift, all numbers in float16.

In inference, BatchNorm computes one scale and one shift per channel from its four vectors. A task that is added to
a base network, and from which no other task starts, needs no more. `make_compact` rounds a trained network to what
`compacted` stores, so that the stored task computes with the same numbers as the measured one.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from palimpsest.methods.base import Component, Method, State
from palimpsest.networks.trunk import head_of, normalisation_layers

COMPACT = ("batchnorm", "head")
"""Names of the components that are stored in float16."""
STATISTICS = ("running_mean", "running_var")
"""Last parts of the names of the statistics of BatchNorm."""


@torch.no_grad()
def make_compact(network: nn.Module) -> None:
    """Fold the statistics of BatchNorm into scale and shift, and round normalisation and head to float16, in place.

    The network computes the same in evaluation mode, up to the rounding. A folded BatchNorm has mean 0 and
    variance 1 − ε, so that it only scales and shifts.
    """
    for _, layer in normalisation_layers(network):
        if is_foldable(layer):
            mean, variance = statistics_of(layer)
            layer.weight.copy_(in_float16(layer.weight.double() / (variance.double() + layer.eps).sqrt()))
            layer.bias.copy_(layer.bias.double() - mean.double() * layer.weight.double())  # of the rounded scale
            for name, statistic in folded_statistics(layer).items():
                getattr(layer, name).copy_(statistic)
        round_parameters(layer)
    round_parameters(head_of(network))


def stored_components(method: Method, network: nn.Module, *, compact: bool) -> list[Component]:
    """Return the components of a trained task; if ``compact``, the network must have been made compact."""
    components = method.store(network)
    return compacted(network, components) if compact else components


def compacted(network: nn.Module, components: Iterable[Component]) -> list[Component]:
    """Return the components of a network after `make_compact`, with normalisation and head in float16.

    Statistics of folded BatchNorm are left out; all other buffers stay as they are.
    """
    left_out = {
        f"{name}.{statistic}"
        for name, layer in normalisation_layers(network)
        if is_foldable(layer)
        for statistic in STATISTICS
    }
    parameters = {name for name, _ in network.named_parameters()}
    return [
        replace(
            component,
            tensors={
                name: tensor.half() if name in parameters else tensor
                for name, tensor in component.tensors.items()
                if name not in left_out
            },
        )
        if component.name in COMPACT
        else component
        for component in components
    ]


def with_statistics(network: nn.Module, tensors: State) -> State:
    """Return the tensors of a stored task, with those statistics of BatchNorm that `compacted` left out.

    A layer that lacks only one of its statistics stays incomplete.
    """
    statistics = {
        f"{name}.{key}": statistic
        for name, layer in normalisation_layers(network)
        if is_foldable(layer)
        and f"{name}.weight" in tensors
        and not any(f"{name}.{key}" in tensors for key in STATISTICS)
        for key, statistic in folded_statistics(layer).items()
    }
    return {**statistics, **tensors}


@torch.no_grad()
def unfold(network: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Give folded BatchNorm the statistics of ``inputs`` to the network, in place.

    Scale and shift change so that the network computes the same in evaluation mode, up to rounding. Code that mixes
    or changes weights needs this before it measures statistics again. BatchNorm that is not folded stays.
    """
    layers = [layer for _, layer in normalisation_layers(network) if is_foldable(layer) and is_folded(layer)]
    moments = [Moments(layer) for layer in layers]
    hooks = [layer.register_forward_pre_hook(pair.add) for layer, pair in zip(layers, moments, strict=True)]
    if layers:
        for pictures in inputs:
            network(pictures)
    for layer, pair, hook in zip(layers, moments, hooks, strict=True):
        hook.remove()
        mean, variance = pair.mean_and_variance()
        scale = layer.weight.double()
        layer.weight.copy_(scale * (variance + layer.eps).sqrt())
        layer.bias.copy_(layer.bias.double() + mean * scale)
        for name, statistic in zip(STATISTICS, (mean, variance), strict=True):
            getattr(layer, name).copy_(statistic)


class Moments:
    """Mean and variance per channel of all inputs of a layer."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.sums = torch.zeros(2, layer.num_features, dtype=torch.float64, device=statistics_of(layer)[0].device)
        self.number = 0

    def add(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Include the input of one forward pass, (N, C, …)."""
        features = inputs[0].double().transpose(0, 1).flatten(1)
        self.sums += torch.stack([features.sum(1), features.square().sum(1)])
        self.number += features.shape[1]

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance, float64 (C,) each."""
        mean, square = self.sums / max(1, self.number)
        return mean, (square - mean.square()).clamp(min=0)


def is_folded(layer: _BatchNorm) -> bool:
    """Return True for BatchNorm after `make_compact`."""
    return all(
        torch.equal(statistic, folded_statistics(layer)[name])
        for name, statistic in zip(STATISTICS, statistics_of(layer), strict=True)
    )


def is_foldable(layer: nn.Module) -> TypeGuard[_BatchNorm]:
    """Return True for BatchNorm with statistics, scale and shift."""
    return isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.affine


def statistics_of(layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return running mean and variance of a foldable BatchNorm."""
    assert layer.running_mean is not None and layer.running_var is not None
    return layer.running_mean, layer.running_var


def folded_statistics(layer: _BatchNorm) -> dict[str, Tensor]:
    """Return the statistics with which BatchNorm only scales and shifts, by the last part of their names."""
    mean, variance = statistics_of(layer)
    return dict(zip(STATISTICS, (torch.zeros_like(mean), torch.full_like(variance, 1 - layer.eps)), strict=True))


def round_parameters(layer: nn.Module) -> None:
    """Round the parameters of a layer to float16, in place; values beyond its range become its largest."""
    for parameter in layer.parameters():
        parameter.copy_(in_float16(parameter))


def in_float16(values: Tensor) -> Tensor:
    """Return values in float16; those beyond its range become its largest."""
    largest = torch.finfo(torch.float16).max
    return values.clamp(-largest, largest).half()
