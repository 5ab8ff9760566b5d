"""Size of a code as a part of a training."""

import math

import numpy as np
import pytest
import torch

from palimpsest.coding.sparse import encode
from palimpsest.methods.rate import MARGIN, Pressure, costs_of, ramp, smallest_threshold


def latent(density: float, largest: int = 3, kernels: int = 40_000) -> torch.Tensor:
    """Return random integers (kernels, 1, 1, 1), most of them zero."""
    torch.manual_seed(0)
    magnitudes = torch.distributions.Geometric(0.7).sample((kernels,)).clamp(max=largest - 1) + 1
    signs = torch.where(torch.rand(kernels) < 0.5, -1.0, 1.0)
    return (magnitudes * signs * (torch.rand(kernels) < density))[:, None, None, None]


def coded_bits(values: torch.Tensor) -> int:
    return 8 * len(encode([values.flatten().numpy().astype(np.int32)]))


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5])
def test_costs_are_the_bits_by_which_the_code_grows(density: float) -> None:
    values = latent(density)
    costs = costs_of(values)
    assert float(costs.bits) == pytest.approx(coded_bits(values), rel=0.02)
    more = values.clone()
    zeros = (values == 0).flatten().nonzero()[:100, 0]
    more.view(-1)[zeros] = 1.0 - 2 * (torch.arange(100) % 2)
    growth = coded_bits(more) - coded_bits(values)
    assert growth / 100 == pytest.approx(float(costs.first), rel=0.25, abs=0.4)


def test_changes_of_few_integers_cost_more() -> None:
    values = torch.zeros(100, 10, 1, 1)
    none = float(costs_of(values).first)
    values[:30] = 1
    assert none > 10 and float(costs_of(values).first) < 3
    assert float(costs_of(torch.ones(10, 10, 1, 1)).first) == 0.0  # zero is the rare integer there


def test_steering_reaches_the_budget_and_stays() -> None:
    """Let the size fall at a speed that grows with the factor, as by costs, and grow at a constant one."""
    pressure, bits, budget, steps = Pressure(), 50_000.0, 1000.0, 100
    sizes = []
    for step in range(3 * steps):
        factor = pressure.steer(bits, budget, ramp(step / steps, 0, 1), steps)
        bits *= math.exp(0.02 - min(0.2, factor))
        sizes.append(bits / (MARGIN * budget))
    assert all(0.7 < size < 1.4 for size in sizes[steps + 30 :]) and min(sizes) > 0.5


def test_a_code_that_grows_from_nothing_does_not_exceed_its_budget_for_long() -> None:
    pressure, bits, budget, steps = Pressure(), 20.0, 1000.0, 100
    sizes = []
    for step in range(3 * steps):
        factor = pressure.steer(bits, budget, ramp(step / steps, 0, 1), steps)
        bits *= math.exp(0.05 * (1 - step / (3 * steps)) - min(0.2, 2 * factor))
        sizes.append(bits / (MARGIN * budget))
    assert max(sizes) < 1.5 and 0.7 < sizes[-1] < 1.1


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.0), (0.2, 0.0), (0.3, 0.5), (0.4, 1.0), (0.9, 1.0)])
def test_a_ramp_rises_between_its_ends(progress: float, expected: float) -> None:
    assert ramp(progress, 0.2, 0.4) == pytest.approx(expected)
    assert ramp(progress, 0.2, 0.2) == float(progress > 0.2)


@pytest.mark.parametrize("budget", [0, 10, 1000, 39_999, 10**6])
def test_the_threshold_is_the_smallest_within_the_budget(budget: int) -> None:
    values = torch.linspace(0, 2.5, 40_000)

    def size(threshold: float) -> int:
        return int((values >= threshold).sum())

    threshold = smallest_threshold(size, budget, 2.5)
    assert size(threshold) <= budget and (threshold == 0.5 or size(threshold - 2e-3) > budget)


def test_a_budget_below_the_size_of_nothing_drops_everything() -> None:
    assert smallest_threshold(lambda threshold: 100, 10, 3.0) > 3.0
