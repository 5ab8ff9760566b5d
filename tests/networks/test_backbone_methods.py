"""Every method that works on a network of convolutions learns, stores and loads tasks on a network of timm."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from palimpsest.analysis.forgetting import measure_matrix
from palimpsest.errors import SettingsError
from palimpsest.groups import TrainingSettings
from palimpsest.methods import BASE, METHODS, default_method_settings, method_class, works_on
from palimpsest.methods.base import Component, EarlierTask, Start, with_multipliers
from palimpsest.methods.coded import Coded
from palimpsest.methods.coded_settings import CodedSettings
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.networks.unet_settings import UNetSettings

Study = Any
pytestmark = pytest.mark.slow
ENCODER = "test_efficientnet"
"""Smallest network of timm, made for tests."""
SUPPORTED = [name for name, entry in METHODS.items() if entry.network is None and works_on(name, "unet")]


@pytest.mark.parametrize("method", SUPPORTED)
def test_all_that_is_learned_in_the_backbone_has_a_lower_rate(method: str) -> None:
    network = build_network(UNetSettings(width=2, encoder=ENCODER, encoder_weights="random"), 3)
    base = Component("network", {key: tensor.clone() for key, tensor in network.state_dict().items()})
    earlier = () if method == "packnet" else (EarlierTask(None, (base,)),)  # type: ignore[arg-type]
    together = [SimpleNamespace(name="only", head_channels=3)]
    learner = method_class(method)(default_method_settings().get(method))
    start = Start(network, None, TrainingSettings(), earlier, together=together)  # type: ignore[arg-type]
    whole = learner.begin_task(start)
    split = with_multipliers(whole, network, TrainingSettings(lr_multiplier=2, encoder_lr_multiplier=0.25))
    backbone = {
        id(parameter) for name, parameter in network.named_parameters() if name.startswith("encoder.backbone.")
    }
    rates = {id(parameter): group.learning_rate for group in whole for parameter in group.parameters}
    slower = 0
    for group in split:
        for parameter in group.parameters:
            slow = id(parameter) in backbone
            assert group.learning_rate == rates.pop(id(parameter)) * (0.5 if slow else 2)
            slower += slow
    assert slower > 0 and not rates  # each parameter is in one group


def test_costs_of_changes_have_the_learning_rate_of_the_changes() -> None:
    moved = {}
    for whole, encoder in ((1.0, 1.0), (0.5, 0.25)):
        torch.manual_seed(0)
        network = build_network(UNetSettings(width=2, encoder=ENCODER, encoder_weights="random"), 3)
        learner = Coded(CodedSettings(bits=0.01))
        training = TrainingSettings(steps=100, lr_multiplier=whole, encoder_lr_multiplier=encoder)
        learner.begin_task(Start(network, None, training))  # type: ignore[arg-type]
        layers = dict(zip((name for name, _ in trunk_layers(network)), learner.coded_layers(network), strict=True))
        with torch.no_grad():
            for layer in layers.values():
                layer.latents["weight"].fill_(1.0)
        learner.after_step(network, 0.1)
        moved[encoder] = {name: 1 - layer.latents["weight"].detach() for name, layer in layers.items()}
    for name, amounts in moved[1.0].items():
        factor = 0.5 * (0.25 if name.startswith("encoder.backbone.") else 1)
        assert torch.allclose(moved[0.25][name], factor * amounts, rtol=1e-2) and (amounts > 0).all()


@pytest.mark.parametrize(("multiplier", "moves"), [(1.0, True), (1e-9, False)])
def test_a_training_uses_the_learning_rate_of_the_encoder(
    new_study: Callable[..., Study], multiplier: float, moves: bool
) -> None:
    network = UNetSettings(width=2, encoder=ENCODER, encoder_weights="random").model_dump()
    training = {"steps": 3, "encoder_lr_multiplier": multiplier}
    study = new_study(network=network, methods=["fine-tune"], sequence=["shapes", "colour"], training=training)
    study.learn_all("fine-tune")
    stored = study.stored("fine-tune")
    before, after = stored.base.open("shapes").tensors(), stored.open("colour").tensors()
    moved = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-7)}
    in_backbone = {name for name in moved if name.startswith("encoder.backbone.") and name.endswith("weight")}
    assert {before[name].ndim for name in in_backbone} == ({1, 4} if moves else set())  # BatchNorm, convolutions
    assert "decoder.up_blocks.0.up.weight" in moved


@pytest.mark.parametrize("method", SUPPORTED)
def test_predictions_after_later_tasks_are_those_right_after_training(
    new_study: Callable[..., Study], method: str
) -> None:
    network = UNetSettings(width=2, encoder=ENCODER, encoder_weights="random").model_dump()
    study = new_study(network=network, methods=[method], sequence=["shapes", "colour"])
    study.learn_all(method)
    stored, tasks = study.stored(method), study.tasks()
    learned = {task.name: stored.prediction_record(task.name).checksum for task in tasks}
    changed = {
        (cell.task, cell.after)
        for cell in measure_matrix(stored, tasks, study.prepared, torch.device("cpu"), 0)
        if cell.measurement.checksum != learned[cell.task]
    }
    assert changed == ({("shapes", "colour")} if METHODS[method].can_forget else set())


def test_sides_that_the_network_cannot_halve_are_refused(new_study: Callable[..., Study]) -> None:
    network = UNetSettings(width=2, encoder=ENCODER, encoder_weights="random").model_dump()
    study = new_study(network=network, methods=["scratch"], pictures={"size": 80, "crop": 64})
    message = r"^pictures\.size: 80 is no multiple of 32, the stride of the network; set it to 64$"
    with pytest.raises(SettingsError, match=message):
        study.learn_all("scratch")


def test_tasks_start_from_the_weights_of_the_file_and_record_its_digest(
    new_study: Callable[..., Study], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    path = tmp_path / "weights.safetensors"
    weights = timm.create_model(ENCODER).state_dict()
    save_file(weights, path)
    network = UNetSettings(width=2, encoder=ENCODER, encoder_weights=path).model_dump(mode="json")
    study = new_study(
        network=network,
        methods=["scratch", "piggyback"],
        sequence=["shapes", "colour"],
        training={"learning_rate": 1e-12, "accelerator": "cpu", "steps": 2, "batch_size": 4},
    )
    study.learn_all("scratch")
    study.learn_all("piggyback")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for method, task in ((BASE, "shapes"), ("scratch", "colour"), ("piggyback", "colour")):
        assert study.stored(method).open(task).provenance.encoder_sha256 == digest
    learned = study.stored("scratch").open("colour").tensors()["encoder.backbone.conv_stem.weight"]
    assert torch.allclose(learned, weights["conv_stem.weight"], atol=1e-6)
