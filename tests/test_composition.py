"""Composition of two tasks on one picture; with an identity as second task every way returns the first's output."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.composition import (
    Predict,
    alternate,
    blend,
    composed_rows,
    compositions,
    sequential,
    two_stage,
    unfolded,
)
from palimpsest.composition_settings import CompositionSettings
from palimpsest.data.arrays import Prepared
from palimpsest.errors import SettingsError
from palimpsest.inference import Predictor
from palimpsest.methods.compact import make_compact
from palimpsest.networks.resblock import ResblockNetwork, ResidualBlock
from palimpsest.networks.trunk import normalisation_layers, trunk_layers
from palimpsest.networks.unet import UNet
from palimpsest.tasks.base import Batch, Task, to_pixels
from palimpsest.tasks.colorization import ColorizationTask
from palimpsest.tasks.colorization_settings import ColorizationSettings
from palimpsest.tasks.reconstruction import ReconstructionTask
from palimpsest.tasks.reconstruction_settings import ReconstructionSettings

Way = Callable[[Predictor, Predictor], Predict]

COLOUR = ColorizationTask("colour", ColorizationSettings(kind="colorization", data="drawn"))
SAME = ReconstructionTask("same", ReconstructionSettings(kind="reconstruction", data="drawn"))
CPU = torch.device("cpu")


def pictures(seed: int, number: int = 3) -> Tensor:
    return torch.randint(
        0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


BATCH = {"picture": pictures(0)}


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        yield


def residual(task: Task = COLOUR) -> Predictor:
    """Return a task with random blocks, as after training."""
    network = ResblockNetwork(2, task.head_channels, blocks=2).eval()
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            nn.init.ones_(block.layers[-1].get_parameter("weight"))
    return Predictor(network, task)


def second_task(predictor: Predictor, task: Task = COLOUR) -> Predictor:
    """Return another task on the same auto-encoder with another head."""
    network, fresh = copy.deepcopy(predictor.network), residual(task).network
    network.blocks, network.head = fresh.blocks, fresh.head
    return Predictor(network, task)


def without_blocks(predictor: Predictor) -> Predictor:
    """Return the same auto-encoder and head with identity blocks."""
    network = copy.deepcopy(predictor.network)
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            for parameter in block.parameters():
                parameter.zero_()
    return Predictor(network, predictor.task)


# ------------------------------------------------------------------------------------------------ in full


@pytest.mark.parametrize("way", [sequential, alternate])
def test_identity_blocks_leave_the_first_task_bit_for_bit(way: Way) -> None:
    first = residual()
    second = without_blocks(first)
    assert not torch.equal(first.predict(BATCH), second.predict(BATCH))
    assert torch.equal(way(first, second)(BATCH), first.predict(BATCH))


@pytest.mark.parametrize("way", [sequential, alternate])
def test_in_one_pass_the_input_is_the_first_tasks_and_the_head_the_seconds(way: Way) -> None:
    first = residual()
    second = second_task(first, SAME)
    composed = way(without_blocks(first), second)(BATCH)
    assert not torch.equal(composed, second.predict(BATCH))  # its input has colours
    assert torch.equal(composed, second.network(first.inputs(BATCH)).sigmoid())


@pytest.mark.parametrize(
    ("way", "expected"),
    [(sequential, ["a0", "a1", "b0", "b1"]), (alternate, ["a0", "b0", "a1", "b1"])],
)
def test_the_order_of_the_blocks_is_that_of_the_name_at_both_depths(way: Way, expected: list[str]) -> None:
    first = residual()
    second = second_task(first)
    called = []
    for name, predictor in (("a", first), ("b", second)):
        for blocks in (predictor.network.blocks.deep, predictor.network.blocks.rising):
            for number, block in enumerate(blocks):
                block.register_forward_hook(lambda *_, label=f"{name}{number}": called.append(label))
    way(first, second)(BATCH)
    assert called == 2 * expected


class Logit(nn.Module):
    """Inverse of the sigmoid."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.logit(x)


def test_an_identity_as_second_stage_returns_the_first_tasks_picture() -> None:
    first, second = residual(), Predictor(Logit(), SAME)
    composed = two_stage(first, second)(BATCH)
    assert (to_pixels(composed) == to_pixels(first.predict(BATCH))).all()
    assert not torch.equal(composed, first.predict(BATCH))  # the picture was rounded between the stages


def test_the_second_stage_gets_only_the_picture_of_the_first() -> None:
    first = residual()
    second = second_task(first, SAME)
    painted = torch.from_numpy(COLOUR.paint(first.predict(BATCH))).permute(0, 3, 1, 2)
    assert torch.equal(two_stage(first, second)(BATCH), second(painted))


# ------------------------------------------------------------------------------------------------ blends


@pytest.fixture
def masked() -> tuple[dict[str, Tensor], list[dict[str, Tensor]], list[Predictor]]:
    """Return a base's weights, and masks and networks of two tasks with different BatchNorm and heads."""
    base = UNet(2, 3)
    weights = {name: layer.weight.clone() for name, layer in trunk_layers(base)}
    masks, predictors = [], []
    for _ in range(2):
        network = copy.deepcopy(base).eval()
        mask = {name: (torch.rand_like(weight) > 0.4).float() for name, weight in weights.items()}
        for name, layer in trunk_layers(network):
            layer.weight.copy_(weights[name] * mask[name])
        for parameter in [
            *network.head.parameters(),
            *(p for _, m in normalisation_layers(network) for p in m.parameters()),
        ]:
            parameter.copy_(torch.rand_like(parameter))
        masks.append(mask)
        predictors.append(Predictor(network, COLOUR))
    return weights, masks, predictors


def not_statistics(network: nn.Module) -> dict[str, Tensor]:
    return {n: t for n, t in network.state_dict().items() if "running_" not in n and "num_batches" not in n}


@pytest.mark.parametrize(("alpha", "whose"), [(1.0, 0), (0.0, 1)])
def test_at_its_ends_a_blend_equals_a_task_except_for_running_statistics(
    masked: Any, alpha: float, whose: int
) -> None:
    _, _, predictors = masked
    blended = blend(*predictors, alpha, [BATCH]).network
    expected, actual = not_statistics(predictors[whose].network), not_statistics(blended)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    assert not blended.training
    running = [name for name in blended.state_dict() if "running_" in name]
    state = predictors[whose].network.state_dict()
    assert running and not any(torch.equal(blended.state_dict()[name], state[name]) for name in running)


def test_between_its_ends_a_blend_averages_the_weights_under_both_masks(masked: Any) -> None:
    weights, masks, predictors = masked
    blended = blend(*predictors, 0.3, [BATCH]).network
    for name, layer in trunk_layers(blended):
        torch.testing.assert_close(layer.weight, weights[name] * (0.3 * masks[0][name] + 0.7 * masks[1][name]))
    for name, tensor in not_statistics(blended).items():
        first, second = (predictor.network.state_dict()[name] for predictor in predictors)
        torch.testing.assert_close(tensor, 0.3 * first + 0.7 * second)


def test_a_blend_is_calibrated_on_the_given_pictures(masked: Any) -> None:
    _, _, predictors = masked
    batches: list[Batch] = [{"picture": pictures(1)}, {"picture": pictures(2)}]
    blended = blend(*predictors, 0.5, batches).network
    convolution, batchnorm, *_ = blended.encoder.stages[0]
    features = [convolution(2 * COLOUR.inputs(batch) - 1) for batch in batches]
    torch.testing.assert_close(
        batchnorm.running_mean, sum(features_of_batch.mean((0, 2, 3)) for features_of_batch in features) / 2
    )
    torch.testing.assert_close(
        batchnorm.running_var, sum(features_of_batch.var((0, 2, 3)) for features_of_batch in features) / 2
    )
    assert batchnorm.momentum == UNet(2, 3).encoder.stages[0][1].momentum


def test_blending_leaves_both_tasks_unchanged(masked: Any) -> None:
    _, _, predictors = masked
    before = [copy.deepcopy(predictor.network.state_dict()) for predictor in predictors]
    blend(*predictors, 0.5, [BATCH])
    for predictor, state in zip(predictors, before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in predictor.network.state_dict().items())


def test_folded_tasks_are_unfolded_for_a_blend(masked: Any) -> None:
    _, _, predictors = masked
    for predictor in predictors:
        make_compact(predictor.network)
    expected = [predictor.predict(BATCH) for predictor in predictors]
    ends = [unfolded(predictor, [BATCH]) for predictor in predictors]
    for alpha, whose in ((1.0, 0), (0.0, 1)):
        torch.testing.assert_close(blend(*ends, alpha, [BATCH]).predict(BATCH), expected[whose], atol=5e-3, rtol=0)
        assert (blend(*predictors, alpha, [BATCH]).predict(BATCH) - expected[whose]).abs().max() > 0.05
        assert torch.equal(predictors[whose].predict(BATCH), expected[whose])


def test_residual_networks_are_blended_without_batchnorm() -> None:
    first = residual()
    second = second_task(first)
    assert torch.equal(blend(first, second, 1.0, [BATCH]).predict(BATCH), first.predict(BATCH))
    assert torch.equal(blend(first, second, 0.0, [BATCH]).predict(BATCH), second.predict(BATCH))


def test_heads_of_different_widths_cannot_be_blended() -> None:
    chroma = ColorizationTask("chroma", ColorizationSettings(kind="colorization", data="drawn", output="chroma"))
    message = r"compositions: colour and chroma cannot be blended: head\.weight has the shapes \(3, 2, 1, 1\) and"
    with pytest.raises(SettingsError, match=message):
        blend(Predictor(UNet(2, 3), COLOUR), Predictor(UNet(2, 2), chroma), 0.5, [BATCH])


# ------------------------------------------------------------------------------------------------ all of them


def test_each_task_alone_comes_first_and_then_the_requested_ways(prepared: dict[str, Prepared]) -> None:
    settings = CompositionSettings(
        first="colour", second="same", method="piggyback-resblock", ways=["blend", "alternate"], steps=3
    )
    first = residual()
    second = second_task(first, SAME)
    arrays = {"colour": prepared["colour"], "same": prepared["colour"]}
    results = list(compositions(settings, first, second, arrays, CPU))
    assert [result.title for result in results] == [
        "colour",
        "same",
        "blend 1",
        "blend 0.5",
        "blend 0",
        "alternate",
    ]
    assert [result.alpha for result in results] == [None, None, 1.0, 0.5, 0.0, None]
    assert [result.way for result in results[:2]] == ["first alone", "second alone"]
    assert [result.task.name for result in results] == ["colour", *5 * ["same"]]
    assert torch.equal(results[0].predict(BATCH), first.predict(BATCH))


def test_a_composition_is_measured_on_the_validation_split_of_each_task(prepared: dict[str, Prepared]) -> None:
    settings = CompositionSettings(first="colour", second="same", method="resblock6", ways=["two-stage"])
    first = Predictor(Logit(), SAME)
    returned = next(compositions(settings, first, first, {}, CPU))
    rows = list(
        composed_rows(returned, [COLOUR, SAME], {"colour": prepared["colour"], "same": prepared["colour"]}, CPU)
    )
    assert {(row["way"], row["alpha"], row["images"]) for row in rows} == {("first alone", None, 2)}
    values = {(row["task"], row["metric"]): row["value"] for row in rows}
    assert values["colour", "mse"] == values["same", "mse"] == 0  # both tasks measure the same picture
    assert values["colour", "colourfulness"] == 1 and ("same", "colourfulness") not in values
