"""Normalisation and head in float16, BatchNorm as scale and shift."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from palimpsest.methods import METHODS
from palimpsest.methods.base import Component, task_components
from palimpsest.methods.compact import COMPACT, STATISTICS, compacted, make_compact, unfold, with_statistics
from palimpsest.networks import build_network
from palimpsest.networks.trunk import normalisation_layers, normalisation_state, trunk_state
from palimpsest.networks.unet_settings import UNetSettings
from tests.conftest import Study, network_for

SIDE = 32


def trained_like(network: nn.Module) -> nn.Module:
    """Return the network with statistics, scales and shifts that differ from the initial ones, for inference."""
    for _, layer in normalisation_layers(network):
        for name, tensor in layer.state_dict().items():
            if tensor.ndim:
                low, high = (0.3, 3.0) if name in ("weight", "running_var") else (-1.0, 1.0)
                nn.init.uniform_(tensor, low, high)
    return network.eval()


def difference(output: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the difference, in standard deviations of the expected output."""
    return float((output - expected).square().mean().sqrt() / expected.std())


@torch.no_grad()
@pytest.mark.parametrize("encoder", ["study", "test_efficientnet"])
def test_a_compact_network_computes_the_same(encoder: str) -> None:
    settings = UNetSettings(width=4, encoder=encoder, encoder_weights=None if encoder == "study" else "random")
    network = trained_like(build_network(settings, 3))
    pictures = torch.rand(2, 3, 2 * SIDE, 2 * SIDE)
    trunk = {name: tensor.clone() for name, tensor in trunk_state(network).items()}
    before = network(pictures)
    make_compact(network)
    assert 0 < difference(network(pictures), before) < 0.01
    assert all(torch.equal(tensor, trunk[name]) for name, tensor in trunk_state(network).items())
    once = network(pictures)
    make_compact(network)  # nothing is left to fold or to round
    assert difference(network(pictures), once) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("encoder", ["study", "test_efficientnet"])
def test_an_unfolded_network_computes_the_same_and_has_the_statistics_of_its_inputs(encoder: str) -> None:
    settings = UNetSettings(width=4, encoder=encoder, encoder_weights=None if encoder == "study" else "random")
    network = trained_like(build_network(settings, 3))
    full = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pictures = torch.rand(2, 3, 2 * SIDE, 2 * SIDE)
    unfold(network, [pictures])  # nothing is folded
    assert all(torch.equal(tensor, full[name]) for name, tensor in network.state_dict().items())
    make_compact(network)
    folded = network(pictures)
    unfold(network, [pictures])
    assert difference(network(pictures), folded) < 1e-4
    (name, first), *_ = normalisation_layers(network)
    inputs: list[Tensor] = []
    hook = first.register_forward_pre_hook(lambda layer, given: inputs.append(given[0]))
    network(pictures)
    hook.remove()
    state = network.state_dict()
    assert torch.allclose(state[f"{name}.running_mean"], inputs[0].mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(state[f"{name}.running_var"], inputs[0].var((0, 2, 3), correction=0), rtol=1e-3)


def test_stored_components_are_a_quarter_and_load_to_the_same_bits() -> None:
    network = trained_like(build_network(network_for("piggyback", 4), 3))
    make_compact(network)
    full, mask = task_components(network), Component("mask", {"encoder.mask": torch.zeros(3, dtype=torch.uint8)})
    small = compacted(network, [mask, *full])
    assert small[0] is mask and [part.name for part in small[1:]] == [*COMPACT]
    tensors = {name: tensor for part in small[1:] for name, tensor in part.tensors.items()}
    assert not any(name.endswith(STATISTICS) for name in tensors)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    bytes_of = [sum(tensor.nbytes for tensor in part.tensors.values()) for part in (full[0], small[1])]
    assert bytes_of[1] * 4 == bytes_of[0]
    loaded = with_statistics(network, tensors)
    for name, tensor in normalisation_state(network).items():
        assert torch.equal(loaded[name].float(), tensor)


def test_values_beyond_float16_become_its_largest() -> None:
    layer = nn.BatchNorm2d(2).eval()
    network = nn.Sequential(layer)
    network.head = nn.Conv2d(2, 1, 1)
    nn.init.constant_(layer.weight, 1e6)
    make_compact(network)
    assert torch.equal(layer.weight, torch.full((2,), 65504.0))


def test_statistics_of_older_files_stay() -> None:
    network = trained_like(build_network(network_for("piggyback", 4), 3))
    tensors = normalisation_state(network)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in with_statistics(network, tensors).items())


def test_a_layer_that_lacks_one_statistic_stays_incomplete() -> None:
    network = trained_like(build_network(network_for("piggyback", 4), 3))
    tensors = {**normalisation_state(network)}
    (first, second, *_) = [name for name in tensors if name.endswith("running_var")]
    del tensors[first]
    complete = with_statistics(network, tensors)
    assert first not in complete and second in complete


@torch.no_grad()
def test_the_shift_belongs_to_the_rounded_scale() -> None:
    layer = nn.BatchNorm2d(64).eval()
    network = nn.Sequential(layer)
    network.head = nn.Conv2d(64, 1, 1)
    features = 1000 + torch.randn(16, 64, 8, 8)
    layer.running_mean.copy_(features.mean((0, 2, 3)))  # type: ignore[union-attr]
    nn.init.uniform_(layer.weight, 0.3, 3.0)
    before = layer(features)
    make_compact(network)
    mean_error = (layer(features) - before).mean((0, 2, 3)).abs()
    assert float(mean_error.max()) < 1.1  # half a unit of float16 near 3,000 is 1; of the scale alone it would be 2


def test_buffers_that_are_not_folded_stay() -> None:
    layers = [nn.BatchNorm2d(2, affine=False), nn.InstanceNorm2d(2, track_running_stats=True), nn.BatchNorm2d(2)]
    network = nn.Sequential(*layers)
    network.head = nn.Conv2d(2, 1, 1)
    trained_like(network)
    make_compact(network)
    tensors = {name: t for part in compacted(network, task_components(network)) for name, t in part.tensors.items()}
    kept = {name for name in tensors if name.endswith(STATISTICS)}
    assert kept == {f"{number}.{name}" for number in (0, 1) for name in STATISTICS}
    assert all(torch.equal(with_statistics(network, tensors)[name], network.state_dict()[name]) for name in kept)


@pytest.mark.slow
@pytest.mark.parametrize("compact", [True, False])
def test_only_tasks_on_a_base_network_are_compact(new_study: Callable[..., Study], compact: bool) -> None:
    methods = ["piggyback", "decoder", "scratch", "fine-tune"]
    study = new_study(methods=methods, sequence=["shapes", "halves"], training={"compact": compact})
    for method in methods:
        study.learn_all(method)
        stored = study.stored(method).open("halves")
        types = {
            tensor.dtype
            for component in stored.components
            if component.name in COMPACT
            for tensor in component.tensors.values()
        }
        small = compact and METHODS[method].adds_to_base
        assert types == {torch.float16 if small else torch.float32}, method
        assert any(name.endswith(STATISTICS) for name in stored.tensors()) != small
