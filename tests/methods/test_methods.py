import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from palimpsest.analysis.masks import masks_of, zero_rows
from palimpsest.errors import StorageError
from palimpsest.groups import TrainingSettings
from palimpsest.methods import BASE, METHODS, default_method_settings, entry_of, method_class
from palimpsest.methods.adapter_settings import AdapterSettings
from palimpsest.methods.base import Component, EarlierTask, Method, Start
from palimpsest.methods.batchnorm_settings import BatchnormSettings
from palimpsest.methods.masks import BinaryMask
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from tests.conftest import network_for

Study = Any
TRAINING = TrainingSettings(learning_rate=0.01, weight_decay=0.02, head_lr_multiplier=3.0)

CONVOLUTIONS = 22  # 10 in the encoder; 4 × (1 up, 2 others) in the decoder
BATCHNORMS = 18


def network_of(name: str) -> nn.Module:
    """Return the network of a method in width 2."""
    return build_network(network_for(name, width=2), 3)


@pytest.fixture
def network(request: pytest.FixtureRequest) -> nn.Module:
    """Return the network of the tested method, or the U-Net."""
    return network_of(request.node.callspec.params.get("name", BASE) if hasattr(request.node, "callspec") else BASE)


def begun(name: str, network: nn.Module) -> tuple[Method, list[Any]]:
    method = method_class(name)(default_method_settings().get(name))
    base = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    earlier = () if METHODS.get(name) == METHODS["packnet"] else (EarlierTask(None, (Component("network", base),)),)  # type: ignore[arg-type]
    together = [SimpleNamespace(name="only", head_channels=3)]
    return method, method.begin_task(Start(network, None, TRAINING, earlier, together=together))  # type: ignore[arg-type]


def part_of(name: str) -> str:
    """Return the part of the network that a parameter belongs to."""
    if name.startswith("head."):
        return "head"
    if "parametrizations.weight.0." in name:
        return name.rpartition(".")[2]
    part = name.partition(".")[0]
    if ".layers.only." in name and part != "head":
        return "batchnorm"
    if part in ("encoder", "decoder", "blocks") and (name.endswith(".bias") or name.split(".")[-2] in ("1", "4")):
        return "batchnorm"
    return f"{part} weights"


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        (BASE, {"encoder weights", "decoder weights", "batchnorm", "head"}),
        ("scratch", {"encoder weights", "decoder weights", "batchnorm", "head"}),
        ("fine-tune", {"encoder weights", "decoder weights", "batchnorm", "head"}),
        ("decoder", {"decoder weights", "batchnorm", "head"}),
        ("piggyback", {"score", "batchnorm", "head"}),
        ("piggyback-ternary", {"score", "batchnorm", "head"}),
        ("piggyback-affine", {"score", "learned", "batchnorm", "head"}),
        ("piggyback-gan", {"free", "coefficients", "batchnorm", "head"}),
        ("ewc", {"encoder weights", "decoder weights", "batchnorm", "head"}),
        ("lwf", {"encoder weights", "decoder weights", "batchnorm", "head"}),
        ("packnet", {"encoder weights", "decoder weights", "batchnorm", "head"}),
        ("batchnorm", {"batchnorm", "head"}),
        ("adapter", {"point", "batchnorm", "head"}),
        ("modulation", {"std", "mean", "batchnorm", "head"}),
        ("bitdelta", {"delta", "scale", "batchnorm", "head"}),
        ("joint", {"encoder weights", "decoder weights", "batchnorm", "head"}),
        ("resblock6", {"blocks weights", "batchnorm", "head"}),
        ("resblock9", {"blocks weights", "batchnorm", "head"}),
        ("piggyback-resblock", {"score", "batchnorm", "head"}),
    ],
)
def test_trained_and_frozen_parts(network: nn.Module, name: str, trained: set[str]) -> None:
    begun(name, network)
    parts: dict[str, set[bool]] = {}
    for parameter_name, parameter in network.named_parameters():
        parts.setdefault(part_of(parameter_name), set()).add(parameter.requires_grad)
    assert all(len(states) == 1 for states in parts.values())
    assert {part for part, states in parts.items() if states == {True}} == trained


@pytest.mark.parametrize("name", [BASE, *METHODS])
def test_every_trained_parameter_is_in_one_group_and_no_frozen_one(name: str) -> None:
    network = network_of(name)
    _, groups = begun(name, network)
    named = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(named) == sorted(id(parameter) for parameter in network.parameters() if parameter.requires_grad)


def test_each_group_has_its_settings(network: nn.Module) -> None:
    _, (weights, task) = begun("scratch", network)
    assert (weights.learning_rate, weights.weight_decay) == (0.01, 0.02)
    assert (task.learning_rate, task.weight_decay) == (pytest.approx(0.03), 0.0)
    assert (len(weights.parameters), len(task.parameters)) == (CONVOLUTIONS, 2 * BATCHNORMS + 2)
    _, (scores, task) = begun("piggyback", network_of(BASE))
    assert (scores.learning_rate, scores.weight_decay) == (3e-3, 0.0)
    assert task.learning_rate == pytest.approx(0.03)
    assert (len(scores.parameters), len(task.parameters)) == (CONVOLUTIONS, 2 * BATCHNORMS + 2)
    learner = method_class("adapter")(AdapterSettings(lr_multiplier=5.0))
    adapters, task = learner.begin_task(Start(network_of(BASE), None, TRAINING))  # type: ignore[arg-type]
    assert (adapters.learning_rate, task.learning_rate) == (pytest.approx(0.05), pytest.approx(0.03))
    learner = method_class("batchnorm")(BatchnormSettings(lr_multiplier=2.0))
    (task,) = learner.begin_task(Start(network_of(BASE), None, TRAINING))  # type: ignore[arg-type]
    assert task.learning_rate == pytest.approx(0.06)


def test_a_mask_starts_with_all_weights_and_the_score_and_threshold_of_the_settings(network: nn.Module) -> None:
    settings = MaskSettings(score_learning_rate=0.5, initial_score=0.3, threshold=0.2, start="constant")
    method = method_class("piggyback")(settings)
    before = network.eval()(torch.ones(1, 3, 32, 32))
    (scores, _) = method.begin_task(Start(network, None, TRAINING))  # type: ignore[arg-type]
    assert scores.learning_rate == 0.5
    assert torch.equal(network(torch.ones(1, 3, 32, 32)), before)
    masks = [module for module in network.modules() if isinstance(module, BinaryMask)]
    assert len(masks) == CONVOLUTIONS
    assert all(mask.settings.threshold == 0.2 and mask.score.eq(0.3).all() for mask in masks)


@pytest.mark.parametrize(
    ("name", "component", "shared", "tensors"),
    [
        ("scratch", "network", False, CONVOLUTIONS),
        ("fine-tune", "network", True, CONVOLUTIONS),
        ("decoder", "decoder", False, 12),
        ("piggyback", "mask", False, CONVOLUTIONS),
        ("piggyback-ternary", "mask", False, 2 * CONVOLUTIONS),
        ("adapter", "adapter", False, CONVOLUTIONS - 4),
        ("modulation", "modulation", False, 2 * CONVOLUTIONS),
        ("bitdelta", "delta", False, 2 * CONVOLUTIONS),
        ("lwf", "network", True, CONVOLUTIONS),
    ],
)
def test_stored_components(network: nn.Module, name: str, component: str, shared: bool, tensors: int) -> None:
    method, _ = begun(name, network)
    stored = {c.name: c for c in method.store(network)}
    assert list(stored) == [component, "batchnorm", "head"]
    assert stored[component].shared is shared and len(stored[component].tensors) == tensors
    assert not stored["batchnorm"].shared and not stored["head"].shared
    assert len(stored["batchnorm"].tensors) == 4 * BATCHNORMS
    assert set(stored["head"].tensors) == {"head.weight", "head.bias"}
    assert all(c.needed_to == "run" for c in stored.values())


def test_scalars_are_a_separate_component(network: nn.Module) -> None:
    method, _ = begun("piggyback-affine", network)
    stored = {c.name: c for c in method.store(network)}
    assert list(stored) == ["mask", "scalars", "batchnorm", "head"]
    layers = [name for name, _ in trunk_layers(network)]
    assert list(stored["mask"].tensors) == [f"{name}.mask" for name in layers]
    assert list(stored["scalars"].tensors) == [f"{name}.scalars" for name in layers]
    assert not stored["mask"].shared and not stored["scalars"].shared


def test_a_mask_is_stored_packed_with_the_name_of_its_layer(network: nn.Module) -> None:
    method, _ = begun("piggyback", network)
    first = next(module for module in network.modules() if isinstance(module, BinaryMask))
    with torch.no_grad():
        first.score.view(-1)[[0, 9]] = 0.0
    mask = method.store(network)[0].tensors
    assert list(mask) == [f"{name}.mask" for name, _ in trunk_layers(network)]
    packed = mask["encoder.stages.0.0.mask"]  # 2 × 3 × 3 × 3 = 54 weights
    assert packed.dtype == torch.uint8
    assert packed.tolist() == [0b01111111, 0b10111111, 255, 255, 255, 255, 0b11111100]


def tensors_of(components: list[Component]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for component in components for name, tensor in component.tensors.items()}


def stored_by(name: str) -> tuple[dict[str, torch.Tensor], Method]:
    """Return the tensors that a method stores at the start of a training, and the method."""
    network = network_of(name)
    method, _ = begun(name, network)
    return tensors_of(method.store(network)), method


def base_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a network without its head."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items() if not name.startswith("head.")}


@pytest.mark.parametrize("name", METHODS)
def test_a_tensor_of_another_network_is_refused(network: nn.Module, name: str) -> None:
    stored, method = stored_by(name)
    with pytest.raises(StorageError, match=r"no tensor 'encoder\.extra'"):
        method.load_weights(network, base_of(network), {**stored, "encoder.extra": torch.zeros(1)})
    with pytest.raises(StorageError, match=r"head\.bias: expected shape \(3,\), found \(4,\)"):
        method.load_weights(network, base_of(network), {**stored, "head.bias": torch.zeros(4)})


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("missing", ["head.weight", "encoder.stages.0.1.running_mean"])
def test_a_stored_task_that_lacks_a_part_is_refused(network: nn.Module, name: str, missing: str) -> None:
    stored, method = stored_by(name)
    if missing not in stored:
        pytest.skip("this network has no BatchNorm")
    del stored[missing]
    with pytest.raises(StorageError, match=re.escape(missing)):
        method.load_weights(network, base_of(network), stored)


def test_a_layer_without_a_mask_is_refused(network: nn.Module) -> None:
    stored, method = stored_by("piggyback")
    del stored["decoder.up_blocks.0.up.mask"]
    with pytest.raises(StorageError, match=r"decoder\.up_blocks\.0\.up"):
        method.load_weights(network, base_of(network), stored)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("piggyback", "mask"),
        ("piggyback-affine", "mask"),
        ("piggyback-ternary", "negated"),
        ("bitdelta", "sign"),
        ("packnet", "owner"),
    ],
)
def test_the_error_for_a_packed_tensor_of_another_length_names_the_layer(name: str, key: str) -> None:
    stored, method = stored_by(name)
    layer = "decoder.up_blocks.0.up"
    stored[f"{layer}.{key}"] = stored[f"{layer}.{key}"][..., :-1]
    network = network_of(name)
    with pytest.raises(
        StorageError, match=rf"^layer '{re.escape(layer)}': expected a mask of \d+ bytes, found \d+$"
    ):
        method.load_weights(network, base_of(network), stored)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_built_without_settings(name: str) -> None:
    assert isinstance(method_class(name)(), Method)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_later_task_changes_no_batchnorm_and_no_head_of_an_earlier_one(trained: Study, method: str) -> None:
    stored = trained.stored(method)
    tasks = trained.settings.sequence
    for number, name in enumerate(tasks):
        parts = [part for part in stored.open(name).components if part.needed_to == "run" and not part.shared]
        stored_tensors = {key: tensor for part in parts for key, tensor in part.tensors.items()}
        scales = [key for key in stored_tensors if key.endswith(".weight") and stored_tensors[key].ndim == 1]
        kept = scales + [
            key for key in stored_tensors if "running" in key or key.startswith("head.") or key.endswith(".bias")
        ]
        network, trained_by = METHODS[method].network, entry_of(stored.open(name).provenance.method)
        if network is None:
            vectors = 2 if trained_by.adds_to_base and not trained_by.learns_base_task else 4  # compact or not
            assert len(kept) == vectors * BATCHNORMS + 2
        else:  # two layers of instance normalisation per block, without statistics
            assert len(kept) == 4 * network["blocks"] + 2
        for after in tasks[number:]:
            state = stored.network(name, after).state_dict()
            assert all(torch.equal(state[key], stored_tensors[key].float()) for key in kept)
    first, second = (stored.open(name).tensors() for name in tasks[:2])
    assert not torch.equal(first["head.bias"], second["head.bias"])
    statistics = [key for key in first if "running" in key and key in second]
    assert not any(torch.equal(first[key], second[key]) for key in statistics)


@pytest.mark.slow
def test_training_changes_only_stored_tensors(trained: Study) -> None:
    base = trained.stored("scratch").open("shapes").tensors()
    for name in ("decoder", "piggyback"):
        state = trained.stored(name).network("colour").state_dict()
        frozen = [key for key in base if key.startswith("encoder") and base[key].ndim == 4]
        assert len(frozen) == 10
        for key in frozen:
            chosen = state[key] != 0  # masked weights are zero, all others the base's
            assert (name == "decoder") <= bool(chosen.all())
            assert torch.equal(state[key], base[key] * chosen)
    moved = trained.stored("fine-tune").network("colour").state_dict()
    assert not any(torch.equal(moved[key], base[key]) for key in base if base[key].ndim == 4 and "head" not in key)


@pytest.mark.slow
def test_training_changes_bits_of_masks(trained: Study) -> None:
    rows = zero_rows(masks_of(trained.stored("piggyback")))
    shares = {row["task"]: row["zeros"] for row in rows if row["layer"] == "all"}
    assert shares.keys() == {"halves", "colour"}
    assert all(0.01 < share < 0.9 for share in shares.values())
