"""Elastic weight consolidation on a problem of two weights, by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.groups import TrainingSettings
from palimpsest.methods.base import Component, EarlierTask, Start
from palimpsest.methods.ewc import Ewc, fisher_information, normalised
from palimpsest.methods.ewc_settings import EwcSettings
from palimpsest.tasks.pictures import sampled_loss
from palimpsest.tasks.segmentation import SegmentationTask
from palimpsest.tasks.segmentation_settings import SegmentationSettings

TRAINING = TrainingSettings()


class TwoWeights(nn.Module):
    """Network y = head · (w₁ x₁ + w₂ x₂), as a 1×1 convolution of two channels."""

    def __init__(self, weights: tuple[float, float]) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(2, 1, 1, bias=False)
        self.head = nn.Conv2d(1, 1, 1, bias=False)
        with torch.no_grad():
            self.trunk.weight.copy_(torch.tensor(weights).view(1, 2, 1, 1))
            self.head.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))  # type: ignore[no-any-return]


class Squares:
    """Task with the loss ½ y², whose gradient is y · x; inputs are unscaled pictures."""

    name = "squares"

    def inputs(self, batch: Any) -> Tensor:
        return batch["picture"]  # type: ignore[no-any-return]

    def prediction(self, output: Tensor, batch: Any) -> Tensor:
        return output

    def sampled_loss(self, prediction: Tensor, batch: Any) -> Tensor:
        return 0.5 * prediction.square().sum()


def pictures(*pairs: tuple[float, float]) -> dict[str, Tensor]:
    return {"picture": torch.tensor(pairs).view(len(pairs), 2, 1, 1)}


def start(network: nn.Module, fisher: tuple[float, float] | None = None, **more: Any) -> Start:
    components = [Component("network", {})]
    if fisher is not None:
        tensor = torch.tensor(fisher).view(1, 2, 1, 1)
        components.append(Component("fisher", {"trunk.weight.fisher": tensor}, needed_to="learn"))
    earlier = (EarlierTask(None, tuple(components)),) if fisher is not None else ()  # type: ignore[arg-type]
    return Start(network, Squares(), TRAINING, earlier, **more)  # type: ignore[arg-type]


def test_the_penalty_is_half_lambda_times_fisher_times_squared_distance() -> None:
    network = TwoWeights((1.0, -2.0))
    method = Ewc(EwcSettings(weight=10.0))
    method.begin_task(start(network, fisher=(3.0, 0.5)))
    assert method.penalty(network, {}, torch.ones(())) == 0
    with torch.no_grad():
        network.trunk.weight += torch.tensor([0.2, -0.4]).view(1, 2, 1, 1)
    penalty = method.penalty(network, {}, torch.ones(()))
    assert penalty is not None
    assert penalty.item() == pytest.approx(10 / 2 * (3 * 0.2**2 + 0.5 * 0.4**2))
    penalty.backward()
    assert network.trunk.weight.grad is not None
    assert network.trunk.weight.grad.flatten().tolist() == pytest.approx([10 * 3 * 0.2, 10 * 0.5 * -0.4])


def test_the_fisher_information_is_the_mean_of_squared_gradients() -> None:
    network = TwoWeights((1.0, -2.0))
    batches = [pictures((1.0, 0.0), (2.0, 1.0)), pictures((0.0, 3.0), (9.0, 9.0))]
    task_start = start(network, batches=lambda: iter(batches))
    # y = 1, 0, −6 for the first three pictures; the gradient is y · x
    fisher = fisher_information(network, {"w": network.trunk.weight}, task_start, pictures=3)
    assert fisher["w"].flatten().tolist() == pytest.approx([(1 + 0 + 0) / 3, (0 + 0 + 18**2) / 3])
    assert all(p.grad is None for p in network.parameters())


def test_fisher_information_of_later_tasks_is_added_to_the_decayed_sum() -> None:
    network = TwoWeights((1.0, 0.0))
    method = Ewc(EwcSettings(decay=0.5, pictures=1))
    method.begin_task(start(network, fisher=(4.0, 2.0), batches=lambda: iter([pictures((1.0, 2.0))])))
    method.after_training(network)
    (fisher,) = [c for c in method.store(network) if c.name == "fisher"]
    assert (fisher.shared, fisher.needed_to) == (True, "learn")
    assert fisher.tensors["trunk.weight.fisher"].flatten().tolist() == pytest.approx([2 + 1 / 2.5, 1 + 4 / 2.5])


def test_tasks_have_equal_weight_whatever_the_unit_of_their_likelihood() -> None:
    small, large = {"w": torch.tensor([1e-6, 3e-6])}, {"w": torch.tensor([1e3, 3e3])}
    assert torch.allclose(normalised(small)["w"], torch.tensor([0.5, 1.5]))
    assert torch.allclose(normalised(large)["w"], normalised(small)["w"])
    assert torch.equal(normalised({"w": torch.zeros(2)})["w"], torch.zeros(2))


def test_on_the_base_task_nothing_trains_and_fisher_information_is_stored() -> None:
    network = TwoWeights((1.0, 0.0)).requires_grad_(False)
    method = Ewc(EwcSettings(pictures=1))
    assert method.begin_task(start(network, batches=lambda: iter([pictures((1.0, 2.0))]))) == []
    method.after_training(network)
    stored = {c.name: c.tensors for c in method.store(network)}
    assert stored["fisher"]["trunk.weight.fisher"].flatten().tolist() == pytest.approx([1 / 2.5, 4 / 2.5])
    assert stored["network"]["trunk.weight"].flatten().tolist() == [1.0, 0.0]
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("batchnorm", "names"), [("task", {"0.weight"}), ("shared", {"0.weight", "1.weight", "1.bias"})]
)
def test_a_shared_batchnorm_is_penalised_too(batchnorm: str, names: set[str]) -> None:
    network = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2))
    assert set(Ewc(EwcSettings(batchnorm=batchnorm)).shared_parameters(network)) == names  # type: ignore[arg-type]


def test_labels_are_drawn_by_their_probabilities() -> None:
    settings = SegmentationSettings(kind="segmentation", data="any", classes={"one": ["one"]})
    task = SegmentationTask("any", settings)
    scores = torch.zeros(1, 2, 100, 100)
    scores[:, 1] = torch.tensor(3.0).log()  # probabilities ¼ and ¾
    batch = {"target": torch.zeros(1, 100, 100, dtype=torch.uint8)}
    batch["target"][:, 50:] = 255
    torch.manual_seed(0)
    loss = task.sampled_loss(scores, batch).item()
    expected = 0.25 * torch.tensor(4.0).log() + 0.75 * torch.tensor(4 / 3).log()
    assert loss / 5000 == pytest.approx(expected.item(), rel=0.05)


def test_pictures_are_drawn_around_the_prediction_with_its_error_variance() -> None:
    truth = torch.full((1, 3, 64, 64), 0.6)
    prediction = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    torch.manual_seed(0)
    sampled_loss(prediction, truth).backward()
    assert prediction.grad is not None
    # the gradient is −ε / σ with σ = 0.1: its mean square is 1 / σ²
    assert prediction.grad.square().mean().item() == pytest.approx(100, rel=0.05)
