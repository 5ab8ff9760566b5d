import copy
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from palimpsest.errors import TrainingError
from palimpsest.groups import PictureSettings, TrainingSettings
from palimpsest.methods import METHODS, method_class
from palimpsest.methods.base import Method, ParameterGroup, Start
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.methods.piggyback import Piggyback
from palimpsest.methods.reparametrised import parametrization_of
from palimpsest.networks import build_network
from palimpsest.networks.trunk import normalisation_layers, trunk_layers
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.tasks.base import Batch, Task
from palimpsest.training.loop import Plan, TaskData, clip, log_line, start_fabric, train, turns_of
from palimpsest.training.schedule import schedule

Study = Any
SMALL = {"steps": 6, "batch_size": 4, "steps_per_epoch": 2, "learning_rate": 0.01, "accelerator": "cpu"}


def test_the_rate_rises_over_the_warmup_and_falls_as_a_cosine_to_zero() -> None:
    rates = [schedule(step, 110, 10 / 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[9] == rates[10] == 1
    assert rates[60] == pytest.approx(0.5)  # half-way down
    assert rates[35] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert 0 < rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 99 / 100)))
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 3, 300])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
def test_the_rate_is_above_zero_and_at_most_one_at_every_step(steps: int, warmup: float) -> None:
    rates = [schedule(step, steps, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates) and max(rates) == 1


def test_the_rate_of_a_group_may_reach_zero_early() -> None:
    rates = [schedule(step, 100, 0.1, lr_end=0.6) for step in range(100)]
    assert rates[35] == pytest.approx(0.5) and rates[59] > 0  # half-way between the ends of warm-up and training
    assert rates[60:] == [0] * 40


def test_gradients_are_clipped_to_the_largest_norm_by_group() -> None:
    large, small = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    large.grad, small.grad = torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4])
    for name, parameter in (("large", large), ("small", small)):
        clip([ParameterGroup(name, [parameter], 0.1)], 1.0, step=0)
    assert large.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-5)
    assert small.grad.tolist() == pytest.approx([0.3, 0.4])


def test_a_gradient_of_nan_stops_the_training() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([float("inf")])
    with pytest.raises(TrainingError, match=r"step 7: the gradient of scores is not finite"):
        clip([ParameterGroup("scores", [parameter], 0.1)], 1.0, step=7)


def test_an_epoch_is_one_line_of_the_log() -> None:
    entry = {"step": 4.0, "loss": 0.5, "style_loss": 0.25, "images_per_second": 99.6}
    assert log_line(entry, 10) == "step 4/10  loss 0.5000  style_loss 0.2500  100 images/s"


def test_a_training_uses_the_threads_of_the_settings_after_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[object] = []
    monkeypatch.setattr(torch, "set_num_threads", order.append)
    monkeypatch.setattr(Fabric, "launch", lambda fabric: order.append("launch"))
    start_fabric(TrainingSettings(**SMALL, threads=3))
    assert order == ["launch", 3]


def test_a_machine_with_slurm_needs_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start_fabric(TrainingSettings(**SMALL))


class Toy:
    """Training of a network of width 2 with its data."""

    def __init__(self, study: Study, folder: Path, method: Method | None = None, **training: Any) -> None:
        settings = TrainingSettings(**{**SMALL, **training})
        torch.manual_seed(3)  # every third random start of this narrow network misses a class
        self.task: Task = study.task("shapes")
        self.network: nn.Module = build_network(UNetSettings(width=2), 3)
        self.method = method or method_class("scratch")()
        self.groups = self.method.begin_task(Start(self.network, self.task, settings))
        self.plan = Plan(settings, folder / "a.resume", "key")
        pictures = PictureSettings(size=32, crop=32)
        arrays = study.prepared["shapes"]
        self.data = TaskData(self.task, arrays, pictures, settings.batch_size, settings.steps, seed=5)

    def train(
        self, fabric: Fabric | None = None, beside: Sequence[TaskData] = (), **options: Any
    ) -> list[dict[str, float]]:
        fabric, task_data = fabric or start_fabric(self.plan.training), [self.data, *beside]
        return train(fabric, self.network, self.method, self.groups, task_data, self.plan, **options)


def test_several_tasks_alternate_evenly_and_end_together() -> None:
    assert turns_of([3]) == [0, 0, 0]
    assert turns_of([2, 2, 2]) == [0, 1, 2, 0, 1, 2]
    assert turns_of([4, 2]) == [0, 1, 0, 0, 1, 0]
    assert [turns_of([500, 300, 200]).count(number) for number in range(3)] == [500, 300, 200]


@pytest.mark.slow
def test_alternating_tasks_do_not_depend_on_the_unit_of_their_loss(new_study: Any, tmp_path: Path) -> None:
    def learned_beside(unit: float) -> Tensor:
        toy = Toy(new_study(), tmp_path / str(unit), steps=1, precision="32-true", gradient_clip=1e6)
        task = copy.copy(toy.task)
        task.losses = lambda *arguments: {"loss": unit * toy.task.losses(*arguments)["loss"]}  # type: ignore[method-assign]
        toy.train(beside=[replace(toy.data, task=task, seed=6)])
        return torch.cat([parameter.detach().flatten() for parameter in toy.network.parameters()])

    apart = (learned_beside(1 / 16) - learned_beside(1)).abs()
    assert apart.quantile(0.99) < 0.01 * SMALL["learning_rate"]  # a few gradients are about Adam's epsilon


@pytest.mark.slow
def test_the_loss_decreases_and_every_epoch_is_reported(new_study: Any, tmp_path: Path) -> None:
    epochs: list[int] = []
    toy = Toy(new_study(), tmp_path, steps=110, steps_per_epoch=50, learning_rate=0.03)
    history = toy.train(on_epoch=lambda entries: epochs.append(len(entries)))
    assert [entry["step"] for entry in history] == [50, 100, 110] and epochs == [1, 2, 3]
    assert history[2]["loss"] < 0.6 * history[0]["loss"]
    assert all(entry["images_per_second"] > 0 for entry in history)


@pytest.mark.slow
def test_training_keeps_the_checkpoint_of_the_last_epoch(new_study: Any, tmp_path: Path) -> None:
    toy = Toy(new_study(), tmp_path)
    toy.train()
    assert [path.name for path in tmp_path.iterdir()] == ["a.resume"]
    again = Toy(new_study(), tmp_path)
    history = again.train()  # killed before the task was stored: no step is repeated
    assert [entry["step"] for entry in history] == [2, 4, 6]
    state, resumed = toy.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(state[name], resumed[name]) for name in state)


class RecordingOptimizer(torch.optim.AdamW):
    """Optimizer that records learning rate and gradient norm of each group at every step."""

    rates: ClassVar[list[dict[str, float]]] = []
    norms: ClassVar[list[dict[str, float]]] = []

    def step(self, closure: Any = None) -> Any:
        self.rates.append({group["name"]: group["lr"] for group in self.param_groups})
        flat = {group["name"]: [p.grad.flatten() for p in group["params"]] for group in self.param_groups}
        self.norms.append({name: torch.cat(gradients).norm().item() for name, gradients in flat.items()})
        return super().step(closure)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[RecordingOptimizer]:
    """Replace the optimizer, and return its class."""
    monkeypatch.setattr(torch.optim, "AdamW", RecordingOptimizer)
    RecordingOptimizer.rates.clear()
    RecordingOptimizer.norms.clear()
    return RecordingOptimizer


@pytest.mark.slow
def test_every_group_follows_the_schedule_from_its_peak(
    new_study: Any, tmp_path: Path, recorder: type[RecordingOptimizer]
) -> None:
    method = method_class("piggyback")(MaskSettings(score_learning_rate=0.5))
    Toy(new_study(), tmp_path, method, steps=8, warmup=0.25).train()
    shares = [0.5, 1] + [0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert [rate["scores"] for rate in recorder.rates] == pytest.approx([0.5 * share for share in shares])
    assert [rate["task"] for rate in recorder.rates] == pytest.approx([0.01 * share for share in shares])


@pytest.mark.slow
def test_batchnorm_keeps_its_statistics_in_the_last_steps_and_still_trains(new_study: Any, tmp_path: Path) -> None:
    statistics: list[Tensor] = []
    scales: list[Tensor] = []

    class BatchNormRecorder(RecordingMethod):
        def after_step(self, network: nn.Module, progress: float) -> None:
            (_, layer), *_ = normalisation_layers(network)
            statistics.append(layer.running_mean.clone())  # type: ignore[operator]
            scales.append(layer.weight.detach().clone())  # type: ignore[operator]

    Toy(new_study(), tmp_path, BatchNormRecorder(), steps=6, batchnorm_frozen=0.5).train()
    kept = [torch.equal(before, after) for before, after in pairwise(statistics)]
    assert kept == [False, False, True, True, True]
    assert not any(torch.equal(before, after) for before, after in pairwise(scales))


@pytest.mark.slow
def test_the_mask_uses_the_mean_of_the_last_trained_scores(new_study: Any, tmp_path: Path) -> None:
    scores: list[Tensor] = []

    class ScoreRecorder(Piggyback):
        def after_step(self, network: nn.Module, progress: float) -> None:
            (_, layer), *_ = trunk_layers(network)
            scores.append(parametrization_of(layer).get_parameter("score").detach().clone())
            super().after_step(network, progress)
            if progress == 1:
                scores.append(parametrization_of(layer).get_parameter("score").detach().clone())

    method = ScoreRecorder(MaskSettings(score_lr_end=0.75, averaged=0.25))
    Toy(new_study(), tmp_path, method, steps=8).train()
    assert torch.allclose(scores[-1], (scores[4] + scores[5]) / 2)  # of steps 5 and 6 of 8
    assert torch.equal(scores[6], scores[-1]) and torch.equal(scores[7], scores[-1])
    assert not torch.equal(scores[-1], scores[5])


@pytest.mark.slow
def test_the_gradient_of_every_group_is_clipped_separately(
    new_study: Any, tmp_path: Path, recorder: type[RecordingOptimizer]
) -> None:
    Toy(new_study(), tmp_path, steps=3, gradient_clip=1e-3).train()
    for norms in recorder.norms:
        assert norms == {"weights": pytest.approx(1e-3, rel=0.01), "task": pytest.approx(1e-3, rel=0.01)}


class RecordingMethod(Method):
    """Method that trains all parameters and records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: list[float] = []
        self.done = 0
        self.scratch = method_class("scratch")()

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        return self.scratch.begin_task(start)

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor:
        assert not loss.requires_grad and loss > 0 and batch["picture"].dtype == torch.uint8
        return torch.tensor(100.0)

    def after_step(self, network: nn.Module, progress: float) -> None:
        self.progress.append(progress)

    def after_training(self, network: nn.Module) -> None:
        self.done += 1

    def store(self, network: nn.Module) -> list[Any]:
        return []


@pytest.mark.slow
def test_a_method_is_called_at_every_step_and_once_at_the_end(new_study: Any, tmp_path: Path) -> None:
    toy = Toy(new_study(), tmp_path, RecordingMethod(), steps=4)
    history = toy.train()
    assert isinstance(toy.method, RecordingMethod)
    assert toy.method.progress == [0.25, 0.5, 0.75, 1.0] and toy.method.done == 1
    assert all(entry["penalty"] == 100 and 0 < entry["loss"] < 5 for entry in history)


class Anchored(RecordingMethod):
    """Method that trains all parameters with a quadratic penalty on their change."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        self.anchor = [p.detach().clone() for p in start.network.parameters()]
        return super().begin_task(start)

    def penalty(self, network: nn.Module, batch: Batch, loss: Tensor) -> Tensor:
        return self.weight * torch.stack([square.sum() for square in self.squares(network)]).sum()

    def squares(self, network: nn.Module) -> Iterator[Tensor]:
        return ((p - at).square() for p, at in zip(network.parameters(), self.anchor, strict=True))


@pytest.mark.slow
def test_a_penalty_affects_the_training(new_study: Any, tmp_path: Path) -> None:
    moved = {}
    for weight in (0.0, 1e4):
        method = Anchored(weight)
        toy = Toy(new_study(), tmp_path / str(weight), method, steps=12)
        toy.train()
        moved[weight] = sum(square.sum().item() for square in method.squares(toy.network))
    assert 0 < moved[1e4] < moved[0.0] / 4


@pytest.mark.slow
def test_a_loss_of_nan_stops_the_training_and_keeps_the_last_checkpoint(new_study: Any, tmp_path: Path) -> None:
    toy = Toy(new_study(), tmp_path)
    honest, steps = toy.task.losses, iter(range(100))

    def losses(prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": honest(prediction, batch)["loss"] * (float("nan") if next(steps) == 3 else 1)}

    toy.task.losses = losses  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"step 3: the loss is nan; lower training\.learning_rate"):
        toy.train()
    assert torch.load(tmp_path / "a.resume", weights_only=True)["step"] == 2
    assert all(parameter.isfinite().all() for parameter in toy.network.parameters())


@pytest.mark.slow
def test_the_optimizer_gets_no_frozen_parameters(new_study: Any, tmp_path: Path) -> None:
    toy = Toy(new_study(), tmp_path, method_class("decoder")(), steps=3)
    before = {name: p.detach().clone() for name, p in toy.network.named_parameters()}
    toy.train()
    moved = {name for name, p in toy.network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in toy.network.named_parameters() if p.requires_grad}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_the_steps_of_the_settings(trained: Study, method: str) -> None:
    first, *later = trained.settings.sequence
    if METHODS[method].together:
        assert [entry["step"] for entry in trained.histories[method, first]] == list(range(2, 19, 2))
    else:
        for task in later:
            steps = 12 if METHODS[method].adds_base_steps else 6
            assert [entry["step"] for entry in trained.histories[method, task]] == list(range(2, steps + 1, 2))
