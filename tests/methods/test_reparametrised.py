"""Methods that compute a task's weights from the base's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.groups import TrainingSettings
from palimpsest.methods import METHODS, default_method_settings, method_class
from palimpsest.methods.base import Component, EarlierTask, Start
from palimpsest.methods.masks import BinaryMask
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.methods.reparametrised import Reparametrised, _Recomputation, parametrization_of
from palimpsest.networks import build_network
from palimpsest.networks.convolution import PaddedConvolution
from palimpsest.networks.trunk import trunk_layers
from tests.conftest import network_for

SETTINGS = default_method_settings()
NAMES = [name for name in METHODS if isinstance(method_class(name)(SETTINGS.get(name)), Reparametrised)]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {"bits": 99.0} if name == "coded" else {}) for name in NAMES),
    ("adapter", {"rank": 2}),
    ("bitdelta", {"threshold": 0.7}),
]


def network_of(name: str) -> nn.Module:
    """Return the network of a method in width 4."""
    return build_network(network_for(name, width=4), 3)


def begun(name: str, changes: dict[str, Any]) -> tuple[Reparametrised, nn.Module, dict[str, Tensor]]:
    """Return a method that has begun a task, its network, and the base's tensors."""
    torch.manual_seed(0)
    network = network_of(name)
    base = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    settings = SETTINGS.get(name)
    method = method_class(name)(settings.model_copy(update=changes) if settings else None)
    assert isinstance(method, Reparametrised)
    earlier = (EarlierTask(None, (Component("network", base),)),)  # type: ignore[arg-type]
    method.begin_task(Start(network, None, TrainingSettings(), earlier))  # type: ignore[arg-type]
    return method, network, base


def stored(method: Reparametrised, network: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for component in method.store(network) for name, t in component.tensors.items()}


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_a_method_starts_at_the_base(name: str, changes: dict[str, Any]) -> None:
    _, network, base = begun(name, changes)
    for layer_name, layer in trunk_layers(network):
        assert torch.allclose(layer.weight, base[f"{layer_name}.weight"], atol=1e-6), layer_name


def test_changes_are_unquantised_until_their_part_of_the_steps_is_over() -> None:
    method, network, base = begun("bitdelta", {"quantised_after": 0.6})
    deltas = {name: parametrization_of(layer) for name, layer in trunk_layers(network)}
    torch.manual_seed(1)
    with torch.no_grad():
        for delta in deltas.values():
            delta.delta.normal_(std=0.01)  # type: ignore[union-attr]
    for share, plain in ((0.5, True), (0.6, False), (0.7, False)):
        method.after_step(network, share)
        for name, layer in trunk_layers(network):
            changes = (layer.weight - base[f"{name}.weight"]).detach()
            assert torch.allclose(changes, deltas[name].delta, atol=1e-6) is plain  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_loaded_weights_equal_the_learned_ones_bit_for_bit(name: str, changes: dict[str, Any]) -> None:
    method, network, base = begun(name, changes)
    torch.manual_seed(1)
    with torch.no_grad():
        for _, layer in method.layers(network):
            for parameter in parametrization_of(layer).parameters():
                parameter.add_((1.0 if name == "coded" else 0.02) * torch.randn_like(parameter))
    method.after_step(network, 1.0)
    with torch.autocast("cpu", torch.bfloat16):  # as a training computes
        expected = {layer_name: layer.weight.detach().clone() for layer_name, layer in trunk_layers(network)}
    moved = [n for n, _ in method.layers(network) if not torch.equal(expected[n], base[f"{n}.weight"])]
    assert len(moved) == len(list(method.layers(network)))
    reloaded = network_of(name)
    untouched = {key: tensor.clone() for key, tensor in base.items()}
    bodies = {key: tensor for key, tensor in base.items() if not key.startswith("head.")}
    method.load_weights(reloaded, bodies, stored(method, network))
    for layer_name, layer in trunk_layers(reloaded):
        assert torch.equal(layer.weight.view(torch.int32), expected[layer_name].contiguous().view(torch.int32)), (
            layer_name
        )
    assert all(torch.equal(base[key], untouched[key]) for key in base)


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_all_trained_parameters_have_a_gradient_from_the_first_step(name: str, changes: dict[str, Any]) -> None:
    method, network, _ = begun(name, changes)
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    for _, layer in method.layers(network):
        for key, parameter in parametrization_of(layer).named_parameters():
            assert parameter.grad is not None, key
    weights = [p for n, p in network.named_parameters() if n.endswith("weight.original")]
    assert weights and all(weight.grad is None for weight in weights)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_gradients_by_recomputed_weights_equal_those_by_kept_ones_bit_for_bit(
    name: str, changes: dict[str, Any], bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradients() -> dict[str, Tensor]:
        _, network, _ = begun(name, changes)
        torch.manual_seed(1)
        for _ in range(3):  # memory of one step is used again in the next
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                output = network(torch.rand(2, 3, 32, 32))
            output.square().mean().backward()
        return {key: parameter.grad for key, parameter in network.named_parameters() if parameter.grad is not None}

    recomputed = gradients()
    monkeypatch.setattr(_Recomputation, "pack", lambda self, tensor: tensor)
    kept = gradients()
    assert recomputed.keys() == kept.keys()
    assert all(torch.equal(recomputed[key], kept[key]) for key in kept)


@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.Conv2d(4, 3, 1)])
def test_autograd_keeps_no_computed_weight(layer: nn.Linear | nn.Conv2d) -> None:
    mask = BinaryMask(torch.ones_like(layer.weight), MaskSettings())
    nn.utils.parametrize.register_parametrization(layer, "weight", mask, unsafe=True)
    hooks = _Recomputation(layer, mask)
    packed = []
    hooks.hooks.pack_hook = lambda tensor: packed.append(saved := hooks.pack(tensor)) or saved
    inputs = torch.rand(2, 4, *[1] * (2 * isinstance(layer, nn.Conv2d)), requires_grad=True)
    layer(inputs).sum().backward()
    shapes = [saved for saved in packed if isinstance(saved, tuple)]
    assert len(shapes) == 1 and inputs.grad is not None and hooks.computed is None
    assert torch.equal(inputs.grad.flatten(1), layer.weight.sum(0).flatten().expand(2, 4))


def test_a_weight_evaluated_outside_the_forward_pass_is_not_mistaken_for_an_input_in_its_memory() -> None:
    layer = PaddedConvolution(4, 4, 3, "reflect")
    mask = BinaryMask(torch.ones_like(layer.weight), MaskSettings())
    nn.utils.parametrize.register_parametrization(layer, "weight", mask, unsafe=True)
    _Recomputation(layer, mask)
    memory = layer.weight.detach().flatten().view(torch.bfloat16)  # as if another tensor got the memory
    inputs = memory.copy_(torch.rand(288)).reshape(2, 4, 6, 6).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        layer(inputs).sum().backward()
    assert inputs.grad is not None and mask.score.grad is not None
