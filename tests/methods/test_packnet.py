"""PackNet: disjoint masks, their growing union, and a lack of free weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from palimpsest.errors import TrainingError
from palimpsest.groups import TrainingSettings
from palimpsest.methods.base import Component, EarlierTask, Start
from palimpsest.methods.packnet import PackNet, pack_numbers, packed_layers, unpack_numbers
from palimpsest.methods.packnet_settings import PackNetSettings
from palimpsest.methods.reparametrised import original_weight
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.networks.unet_settings import UNetSettings


def plain(components: list[Component]) -> nn.Module:
    """Return a network with the last stored task."""
    network = build_network(UNetSettings(width=2), 3)
    tensors = {name: tensor for component in components for name, tensor in component.tensors.items()}
    PackNet(PackNetSettings()).load_weights(network, {}, tensors)
    return network


def learn(network: nn.Module, earlier: list[Component], keep: float) -> tuple[PackNet, list[Component]]:
    """Train a task that changes every free weight, and return the method and its components."""
    method = PackNet(PackNetSettings(keep=keep))
    before = (EarlierTask(None, tuple(earlier)),) if earlier else ()  # type: ignore[arg-type]
    method.begin_task(Start(network, None, TrainingSettings(), before))  # type: ignore[arg-type]
    with torch.no_grad():
        for _, layer in trunk_layers(network):
            original_weight(layer).add_(torch.randn_like(layer.weight))
    method.after_step(network, 0.5)  # too early
    assert all(packed.active.all() for _, _, packed in packed_layers(network))
    method.after_step(network, 0.6)
    return method, [
        Component(c.name, {n: t.clone() for n, t in c.tensors.items()}, c.shared) for c in method.store(network)
    ]


def test_each_task_owns_weights_that_no_later_task_changes() -> None:
    torch.manual_seed(0)
    first, stored_first = learn(build_network(UNetSettings(width=2), 3), [], keep=0.5)
    second, stored_second = learn(plain(stored_first), stored_first, keep=0.5)
    assert (first.number, second.number) == (1, 2)
    owners = {}
    for stored in (stored_first, stored_second):
        tensors = {c.name: c.tensors for c in stored}
        weights = tensors["network"]
        owners[len(owners)] = {
            name: unpack_numbers(tensors["owners"][f"{name}.owner"], weights[f"{name}.weight"].shape)
            for name, _ in trunk_layers(build_network(UNetSettings(width=2), 3))
        }
    before, after = ({c.name: c.tensors for c in stored}["network"] for stored in (stored_first, stored_second))
    for name, owner in owners[1].items():
        mine = owners[0][name] == 1
        assert torch.equal(owner == 1, mine)  # the first task keeps its weights
        assert not (mine & (owner == 2)).any() and (owner == 2).any()
        free = int((~mine).sum())
        assert int((owner == 2).sum()) == -(-free // 2)
        weight = after[f"{name}.weight"]
        assert torch.equal(weight[mine], before[f"{name}.weight"][mine])
        assert not weight[owner == 0].any()


def test_an_earlier_task_runs_without_weights_of_later_tasks() -> None:
    torch.manual_seed(0)
    _, stored_first = learn(build_network(UNetSettings(width=2), 3), [], keep=0.5)
    alone = plain(stored_first)
    _, stored_second = learn(plain(stored_first), stored_first, keep=0.5)
    unshared = [c for c in stored_first if not c.shared]
    shared = [c for c in stored_second if c.shared]
    again = plain([*unshared, *shared])
    for (name, layer), (_, reloaded) in zip(trunk_layers(alone), trunk_layers(again), strict=True):
        assert torch.equal(layer.weight, reloaded.weight), name


def test_free_weights_are_reported_and_a_lack_of_them_names_the_setting() -> None:
    torch.manual_seed(0)
    half, stored = learn(build_network(UNetSettings(width=2), 3), [], keep=0.5)
    network = build_network(UNetSettings(width=2), 3)
    half.begin_task(Start(network, None, TrainingSettings()))  # type: ignore[arg-type]
    assert half.diagnostics(network) == {"free": 0.0}  # no weight is free before pruning
    half.after_step(network, 1.0)
    assert half.diagnostics(network)["free"] == pytest.approx(0.5, abs=0.01)
    _, stored = learn(build_network(UNetSettings(width=2), 3), [], keep=1 - 1e-9)
    with pytest.raises(
        TrainingError, match=r"no weight is free for task 2: method_settings\.packnet\.keep is .*; lower it"
    ):
        learn(plain(stored), stored, keep=1 - 1e-9)


def test_the_smallest_weights_are_released() -> None:
    network = build_network(UNetSettings(width=2), 3)
    method = PackNet(PackNetSettings(keep=0.25))
    method.begin_task(Start(network, None, TrainingSettings()))  # type: ignore[arg-type]
    method.after_step(network, 1.0)
    for _, layer, packed in packed_layers(network):
        weight = original_weight(layer).detach().abs()
        assert weight[packed.active].min() >= weight[~packed.active].max()
        assert torch.equal(layer.weight != 0, packed.active)


@given(numbers=st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_owners_are_packed_without_loss(numbers: list[int]) -> None:
    tensor = torch.tensor(numbers, dtype=torch.uint8)
    packed = pack_numbers(tensor)
    assert packed.shape == (max(1, max(numbers).bit_length()), -(-len(numbers) // 8))
    assert torch.equal(unpack_numbers(packed, tensor.shape), tensor)
