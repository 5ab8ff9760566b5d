"""Integers with a size: freezing, budget, and loading."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from palimpsest.errors import SettingsError, StorageError
from palimpsest.groups import TrainingSettings
from palimpsest.methods.base import Start
from palimpsest.methods.coded import Coded, CodedWeight, shapes_of
from palimpsest.methods.coded_changes import smallest_covered
from palimpsest.methods.coded_settings import CodedSettings
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.networks.unet_settings import UNetSettings

WIDTH = 8


def begun(**settings: Any) -> tuple[Coded, nn.Module, dict[str, torch.Tensor]]:
    """Return a method that has begun a task with random changes, its network, and the base's tensors."""
    torch.manual_seed(0)
    network = build_network(UNetSettings(width=WIDTH), 3)
    base = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    method = Coded(CodedSettings(**settings))
    method.begin_task(Start(network, None, TrainingSettings(steps=100)))  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in method.coded_layers(network):
            for latent in layer.latents.values():
                latent.normal_(std=0.5)
    return method, network, base


def small_network(*layers: nn.Module) -> Any:
    """Return a network of these layers and a head of three channels."""
    network = nn.Sequential(*layers)
    network.backbone = None
    network.head = nn.Conv2d(3, 3, 1)
    return network


def latents(method: Coded, network: nn.Module) -> list[torch.Tensor]:
    return [latent.detach().clone() for layer in method.coded_layers(network) for latent in layer.latents.values()]


def stored(method: Coded, network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t for component in method.store(network) for name, t in component.tensors.items()}


@pytest.mark.parametrize("bits", [0.06, 0.12, 0.5])
def test_what_is_stored_has_at_most_the_bits_of_the_setting(bits: float) -> None:
    method, network, _ = begun(bits=bits)
    method.after_step(network, 0.85)
    code = next(component for component in method.store(network) if component.name == "code")
    weights = sum(layer.weight.numel() for _, layer in trunk_layers(network))
    measured = 8 * sum(tensor.nbytes for tensor in code.tensors.values()) / weights
    assert 0.8 * bits < measured <= bits
    figures = method.diagnostics(network)
    assert figures["code/bits_per_weight"] == pytest.approx(measured)
    entropy = figures["code/entropy_per_weight"]
    assert 0.3 * measured < entropy < measured
    assert entropy < figures["code/entropy_per_weight_without_layers"] < 2 * entropy


def test_frozen_integers_stay() -> None:
    method, network, _ = begun()
    method.after_step(network, 0.85)
    frozen = latents(method, network)
    assert all(torch.equal(latent, latent.round()) for latent in frozen)
    method.after_step(network, 0.9)
    method.after_step(network, 1.0)
    assert all(torch.equal(*pair) for pair in zip(frozen, latents(method, network), strict=True))


def test_costs_move_changes_towards_zero_once_they_count() -> None:
    method, network, _ = begun(bits=0.01)
    before = latents(method, network)
    method.after_step(network, 0.05)
    assert all(torch.equal(*pair) for pair in zip(before, latents(method, network), strict=True))
    method.after_step(network, 0.1)
    for old, new in zip(before, latents(method, network), strict=True):
        assert (new.abs() <= old.abs()).all() and (new * old >= 0).all() and not torch.equal(new, old)


def test_rounding_begins_gradually() -> None:
    method, network, base = begun(rounded_from=0.0, rounded_until=0.4, counted_from=0.5, counted_until=0.5)
    (name, layer), *_ = trunk_layers(network)
    coded = next(method.coded_layers(network))
    weights = []
    for progress in (0.0, 0.2, 0.4):
        method.after_step(network, progress)
        weights.append(layer.weight.detach().clone())
    assert torch.allclose(weights[1], (weights[0] + weights[2]) / 2, atol=1e-6)
    with torch.no_grad():
        for latent in coded.latents.values():
            latent.copy_(latent.round())
    assert torch.allclose(layer.weight, weights[2], atol=1e-6)
    assert not torch.allclose(layer.weight, base[f"{name}.weight"], atol=1e-3)


@pytest.mark.parametrize(
    ("covered", "per_kernel"), [(1.0, True), (0.25, True), (1e-5, True), (0.0, True), (0.25, False)]
)
def test_loaded_and_switched_weights_equal_the_learned_ones(covered: float, per_kernel: bool) -> None:
    method, network, base = begun(bits=0.5, covered=covered, per_kernel=per_kernel)
    method.after_step(network, 0.85)
    expected = {name: layer.weight.detach().clone() for name, layer in trunk_layers(network)}
    reloaded = build_network(UNetSettings(width=WIDTH), 3)
    bodies = {key: tensor for key, tensor in base.items() if not key.startswith("head.")}
    switch = method.loader(reloaded, bodies, stored(method, network))
    for again in (False, True):
        if again:
            reloaded.load_state_dict(base)
            switch()
        for name, layer in trunk_layers(reloaded):
            assert torch.equal(layer.weight, expected[name]), name
            has_integers = covered or layer.weight[0, 0].numel() > 1
            assert torch.equal(layer.weight, base[f"{name}.weight"]) != has_integers


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 3, 1), nn.Linear(4, 3)])
def test_kernels_of_one_weight_have_only_integers_of_weights(layer: nn.Conv2d | nn.Linear) -> None:
    weight = layer.weight.detach()
    assert shapes_of(weight, 5, CodedSettings()) == {"weight": (5,)}
    coded = CodedWeight(weight, 0, 0.0, CodedSettings(bits=1, weight_step=0.75))
    assert torch.equal(coded(weight), weight) and list(coded.latents) == ["weight"]
    with torch.no_grad():
        coded.latents["weight"].fill_(2)
    assert torch.allclose(coded(weight), weight * (1 + 2 * 0.75), atol=1e-6)


def test_integers_shift_and_scale_kernels() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 4, 3, 3)
    coded = CodedWeight(weight, 0, 0.0, CodedSettings(bits=1, mean_step=0.5, scale_step=0.25))
    coded.freeze(0.5)
    with torch.no_grad():
        coded.latents["mean"][1, 2] = -3
        coded.latents["scale"][3, 0] = 2
    changed = coded(weight).detach()
    deviation = weight.square().mean(dim=(1, 2, 3)).sqrt()
    assert torch.allclose(changed[1, 2], weight[1, 2] - 1.5 * deviation[1], atol=1e-6)
    kernel = weight[3, 0]
    shape = (kernel - kernel.mean()) / kernel.std(correction=0)
    assert torch.allclose(changed[3, 0], kernel + 0.5 * deviation[3] * shape, atol=1e-5)
    same = torch.ones(5, 4, dtype=torch.bool)
    same[1, 2] = same[3, 0] = False
    assert torch.equal(changed[same], weight[same])


def test_the_largest_weights_of_the_network_have_integers() -> None:
    method, network, base = begun(covered=0.1)
    weights = {name: base[f"{name}.weight"].abs().flatten() for name, _ in trunk_layers(network)}
    ordered = torch.cat([*weights.values()]).sort().values
    smallest = ordered[round(0.9 * len(ordered))]
    shares = []
    for coded, magnitudes in zip(method.coded_layers(network), weights.values(), strict=True):
        assert torch.equal(coded.covered, (magnitudes >= smallest).nonzero()[:, 0])
        shares.append(len(coded.covered) / len(magnitudes))
    assert max(shares) > 2 * min(shares)  # layers with larger weights have more of them
    small = torch.tensor([1.0, -3.0, 2.0, 0.5]).view(2, 2, 1, 1)
    coded = CodedWeight(small, 0, 2.0, CodedSettings(bits=1, weight_step=1.0))
    coded.freeze(0.5)
    with torch.no_grad():
        coded.latents["weight"].copy_(torch.tensor([-1.0, -2.0]))
    assert torch.allclose(coded(small), torch.tensor([1.0, 0.0, -2.0, 0.5]).view(2, 2, 1, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        ("steps", torch.zeros(2)),
        ("steps", torch.zeros(0)),
        ("steps", torch.zeros(4, 1)),
        ("steps", torch.full((4,), math.nan)),
        ("steps", torch.zeros(3, dtype=torch.float16)),  # as in format 3
        ("code", torch.zeros(2, dtype=torch.uint8)),
    ],
)
def test_a_stored_layer_that_does_not_fit_is_named(tensor: str, value: torch.Tensor) -> None:
    method, network, base = begun()
    method.after_step(network, 0.85)
    (name, _), *_ = trunk_layers(network)
    tensors = {**stored(method, network), f"{name}.{tensor}": value}
    with pytest.raises(StorageError, match=rf"^layer '{name}': "):
        method.load_weights(build_network(UNetSettings(width=WIDTH), 3), base, tensors)


def test_a_network_without_any_integer_is_refused() -> None:
    network = small_network(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1))
    with pytest.raises(SettingsError, match=r"^method_settings\.coded\.covered: no weight has an integer"):
        Coded(CodedSettings(covered=0.0)).begin_task(Start(network, None, TrainingSettings()))  # type: ignore[arg-type]
    assert smallest_covered([torch.arange(1.0, 11)], 1e-4) == 10.0  # at least one weight


def test_a_network_that_is_too_small_for_its_bits_is_named(caplog: pytest.LogCaptureFixture) -> None:
    method, network, _ = begun(bits=0.001)
    method.after_step(network, 0.85)
    assert not any(latent.any() for latent in latents(method, network))
    (message,) = caplog.messages
    assert "more than the 0.001 of method_settings.coded.bits" in message


def test_the_entropy_over_all_layers_includes_streams_that_the_first_layer_lacks() -> None:
    network = small_network(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 3))
    method = Coded(CodedSettings(bits=99.0))
    method.begin_task(Start(network, None, TrainingSettings(steps=9)))  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in method.coded_layers(network):
            for latent in layer.latents.values():
                latent.normal_(std=2)
    figures = method.diagnostics(network)
    assert figures["code/entropy_per_weight_without_layers"] > figures["code/entropy_per_weight"]


def test_settings_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"counted_from \(0\.5\), counted_until \(0\.4\) and frozen_after"):
        CodedSettings(counted_from=0.5)
    with pytest.raises(ValidationError, match="per_kernel is False and covered is 0"):
        CodedSettings(per_kernel=False, covered=0.0)


def test_steps_and_rate_follow_the_bits() -> None:
    whole, eighth = CodedSettings(bits=1.0), CodedSettings(bits=0.125)
    assert whole.first_step("mean") == whole.mean_step and whole.rate == whole.learning_rate
    for stream in ("mean", "scale", "weight"):
        assert eighth.first_step(stream) == pytest.approx(2 * whole.first_step(stream))
    assert eighth.rate == pytest.approx(4 * whole.rate)
    method, network, _ = begun(bits=0.125)
    coded = next(method.coded_layers(network))
    expected = [eighth.first_step(name) for name in coded.latents]
    assert coded.steps.tolist() == pytest.approx(expected)
