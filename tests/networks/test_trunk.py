import pytest
import torch
from torch import nn

from palimpsest.networks.trunk import (
    enable_gradients,
    freeze,
    head_state,
    normalisation_layers,
    normalisation_state,
    task_parameters,
    trunk_layers,
    trunk_state,
)
from palimpsest.networks.unet import UNet


@pytest.fixture
def network() -> UNet:
    return UNet(2, 3)


def test_trunk_batchnorm_and_head_are_disjoint_and_make_up_the_network(network: UNet) -> None:
    parts = [trunk_state(network), normalisation_state(network), head_state(network)]
    names = [name for part in parts for name in part]
    assert len(names) == len(set(names))
    left = {name for name in network.state_dict() if name not in names}
    assert left == {f"{name}.num_batches_tracked" for name, _ in normalisation_layers(network)}
    state = network.state_dict()
    assert all(torch.equal(tensor, state[name]) for part in parts for name, tensor in part.items())


def test_the_layers_of_the_trunk_are_in_the_order_of_the_forward_pass(network: UNet) -> None:
    called: list[nn.Module] = []
    for _, layer in trunk_layers(network):
        layer.register_forward_hook(lambda module, arguments, output: called.append(module))
    network.eval()(torch.rand(1, 3, 32, 32))
    assert called == [layer for _, layer in trunk_layers(network)]
    assert [name for name, _ in trunk_layers(network)][:2] == ["encoder.stages.0.0", "encoder.stages.0.3"]


def test_the_head_is_not_in_the_trunk_though_it_is_a_convolution(network: UNet) -> None:
    assert network.head not in [layer for _, layer in trunk_layers(network)]
    assert set(head_state(network)) == {"head.weight", "head.bias"}


def test_a_part_of_the_trunk_keeps_the_names_of_tensors(network: UNet) -> None:
    encoder, decoder = trunk_state(network, "encoder"), trunk_state(network, "decoder")
    assert (len(encoder), len(decoder)) == (10, 12)
    assert {**encoder, **decoder}.keys() == trunk_state(network).keys()


def test_batchnorm_is_stored_with_its_statistics(network: UNet) -> None:
    state = normalisation_state(network)
    assert {name.rpartition(".")[2] for name in state} == {"weight", "bias", "running_mean", "running_var"}
    assert len(state) == 4 * 18


def test_task_parameters_are_batchnorm_and_head(network: UNet) -> None:
    task_ids = {id(parameter) for parameter in task_parameters(network)}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in task_ids}
    assert len(names) == 2 * 18 + 2
    assert names == {name for name, p in network.named_parameters() if p.ndim < 4 or name.startswith("head")}


def test_freezing_stops_every_gradient_and_unfreezing_restores_it(network: UNet) -> None:
    freeze(network)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    chosen = enable_gradients(task_parameters(network))
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(p) for p in chosen}


def test_states_are_detached(network: UNet) -> None:
    for state in (trunk_state(network), normalisation_state(network), head_state(network)):
        assert not any(tensor.requires_grad for tensor in state.values())
