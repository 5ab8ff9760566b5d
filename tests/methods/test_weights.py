"""Weights that single methods compute, checked by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.methods import default_method_settings, method_class
from palimpsest.methods.adapter import LowRank, Pointwise
from palimpsest.methods.bitdelta import QuantisedDelta
from palimpsest.methods.bitdelta_settings import BitDeltaSettings
from palimpsest.methods.masks import pack
from palimpsest.methods.masks_settings import AffineMaskSettings, MaskSettings
from palimpsest.methods.modulation import Modulation
from palimpsest.methods.piggyback_affine import AffineMask
from palimpsest.methods.piggyback_gan import MixedFilters, as_filters
from palimpsest.methods.piggyback_ternary import TernaryMask
from palimpsest.methods.reparametrised import Reparametrised

LAYER = nn.Conv2d(3, 4, 3)
BASE = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def loaded(name: str, stored: dict[str, Tensor], base: Tensor = BASE, **changes: Any) -> Tensor:
    """Return a weight that a method computes from the base's and the stored tensors."""
    settings = default_method_settings().get(name)
    method = method_class(name)(settings.model_copy(update=changes) if settings else None)
    assert isinstance(method, Reparametrised)
    return method.weight(LAYER, base, stored)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


def test_an_adapter_of_zeros_equals_the_base_bit_for_bit() -> None:
    assert same_bits(loaded("adapter", {"point": torch.zeros(4, 3, 1, 1)}), BASE)
    low = {"mixture": torch.zeros(4, 2), "filters": torch.randn(2, 3, 3, 3)}
    assert same_bits(loaded("adapter", low, rank=2), BASE)
    assert same_bits(Pointwise(BASE)(BASE), BASE) and same_bits(LowRank(BASE, 2)(BASE), BASE)


def test_an_adapter_is_a_convolution_parallel_to_the_bases() -> None:
    point, pictures = torch.randn(4, 3, 1, 1), torch.randn(2, 3, 8, 8)
    summed = nn.functional.conv2d(pictures, loaded("adapter", {"point": point}), padding=1)
    beside = nn.functional.conv2d(pictures, BASE, padding=1) + nn.functional.conv2d(pictures, point)
    assert torch.allclose(summed, beside, atol=1e-5)


def test_changes_with_scales_of_zero_equal_the_base_bit_for_bit() -> None:
    stored = {"sign": pack(torch.rand(4, 3, 3, 3) > 0.5), "scale": torch.zeros(4, 1, 1, 1)}
    assert same_bits(loaded("bitdelta", stored), BASE)
    taken = torch.rand(4, 3, 3, 3) > 0.5
    some = {**stored, "mask": pack(taken), "sign": pack(torch.rand(int(taken.sum())) > 0.5)}
    assert same_bits(loaded("bitdelta", some, threshold=0.7), BASE)
    for settings in (BitDeltaSettings(), BitDeltaSettings(threshold=0.7)):
        delta = QuantisedDelta(BASE, 0, settings)
        with torch.no_grad():
            delta.delta.normal_()
        delta.quantise()
        with torch.no_grad():
            delta.scale.zero_()
        assert same_bits(delta(BASE), BASE)


def test_a_change_becomes_its_sign_times_the_mean_magnitude_of_its_channel() -> None:
    weight = torch.zeros(2, 1, 1, 2)
    delta = QuantisedDelta(weight, 0, BitDeltaSettings())
    with torch.no_grad():
        delta.delta.copy_(torch.tensor([[0.1, -0.3], [0.5, 0.5]]).view(2, 1, 1, 2))
    assert delta(weight).flatten().tolist() == pytest.approx([0.1, -0.3, 0.5, 0.5])
    delta.quantise()
    assert delta(weight).flatten().tolist() == pytest.approx([0.2, -0.2, 0.5, 0.5])
    stored = delta.stored()
    assert stored["sign"].tolist() == [0b10110000]
    assert same_bits(loaded("bitdelta", stored, weight), delta(weight))


def test_changes_below_the_threshold_are_zero() -> None:
    weight = torch.zeros(1, 1, 2, 2)
    delta = QuantisedDelta(weight, 0, BitDeltaSettings(threshold=0.7))
    with torch.no_grad():
        delta.delta.copy_(torch.tensor([0.1, -0.3, 0.5, 0.3]).view(1, 1, 2, 2))  # the mean magnitude is 0.3
    delta.quantise()
    assert delta(weight).flatten().tolist() == pytest.approx([0, -1.1 / 3, 1.1 / 3, 1.1 / 3])
    stored = delta.stored()
    assert stored["mask"].tolist() == [0b01110000]
    assert same_bits(loaded("bitdelta", stored, weight, threshold=0.7), delta(weight))


def test_the_gradient_passes_the_quantisation_to_change_and_scale() -> None:
    weight = torch.zeros(1, 1, 1, 2)
    delta = QuantisedDelta(weight, 0, BitDeltaSettings())
    with torch.no_grad():
        delta.delta.copy_(torch.tensor([0.1, -0.3]).view(1, 1, 1, 2))
    delta.quantise()
    (delta(weight) * torch.tensor([2.0, 5.0])).sum().backward()
    assert delta.delta.grad is not None and delta.delta.grad.flatten().tolist() == [2.0, 5.0]
    assert delta.scale.grad is not None and delta.scale.grad.item() == pytest.approx(2 - 5)


def test_affine_masks_of_one_and_zeros_equal_the_base_bit_for_bit() -> None:
    stored = {"mask": pack(torch.rand(4, 3, 3, 3) > 0.5), "scalars": torch.tensor([1.0, 0.0, 0.0, 0.0])}
    assert same_bits(loaded("piggyback-affine", stored), BASE)
    settings = AffineMaskSettings(initial_scalars=(1.0, 0.0, 0.0, 0.0))
    assert same_bits(AffineMask(BASE, settings)(BASE), BASE)


def test_an_affine_mask_scales_shifts_and_adds_masked_weights() -> None:
    weight, mask = torch.tensor([[2.0, -4.0]]), torch.tensor([[True, False]])
    stored = {"mask": pack(mask), "scalars": torch.tensor([0.5, 0.1, 0.2, 3.0])}
    assert loaded("piggyback-affine", stored, weight).tolist() == [[pytest.approx(7.3), pytest.approx(-1.9)]]


def test_both_terms_with_the_mask_pass_gradients_to_the_scores() -> None:
    weight = torch.tensor([[0.5, -0.25]])
    mask = AffineMask(weight, AffineMaskSettings(initial_scalars=(1.0, 0.0, 2.0, 4.0)))
    mask(weight).sum().backward()
    assert mask.score.grad is not None
    assert mask.score.grad.tolist() == [[pytest.approx(2 + 4 * 0.5), pytest.approx(2 - 4 * 0.25)]]


def test_an_affine_mask_learns_its_shift_in_units_of_the_weights() -> None:
    small = 0.01 * BASE
    mask = AffineMask(small, AffineMaskSettings(initial_scalars=(0.5, 0.25, 0.125, 1.0)))
    assert mask.scalars.tolist() == pytest.approx([0.5, 0.25, 0.125, 1.0])
    with torch.no_grad():
        mask.learned += 1.0  # Adam changes each by the same amount
    assert mask.stored()["scalars"].tolist() == pytest.approx(
        [1.5, 0.25 + float(small.std()), 0.125 + float(small.std()), 2.0]
    )
    assert AffineMask(torch.zeros(2, 2), AffineMaskSettings()).scalars.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_ternary_mask_keeps_drops_and_inverts_weights_in_two_bits() -> None:
    weight, settings = torch.tensor([[2.0, 3.0, -5.0, 7.0, 1.0]]), MaskSettings()
    mask = TernaryMask(torch.tensor([[0.01, 0.0, -0.01, -0.005, 0.005]]), settings)
    assert mask(weight).tolist() == [[2.0, 0.0, 5.0, 0.0, 0.0]]
    stored = mask.stored()
    assert (stored["mask"].tolist(), stored["negated"].tolist()) == ([0b10100000], [0b00100000])
    assert same_bits(loaded("piggyback-ternary", stored, weight), mask(weight))
    mask(weight).sum().backward()
    assert mask.score.grad is not None and torch.equal(mask.score.grad, weight)


def test_modulation_gives_each_kernel_its_learned_scale_and_mean() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0, 2.0]).view(1, 1, 2, 2)  # mean 2, standard deviation √½
    stored = {"std": torch.full((1, 1, 1, 1), 2**0.5), "mean": torch.full((1, 1, 1, 1), 10.0)}
    assert loaded("modulation", stored, weight).flatten().tolist() == pytest.approx([8, 10, 12, 10])
    flat = Modulation(torch.ones(1, 1, 2, 2))
    assert flat(torch.ones(1, 1, 2, 2)).isfinite().all()


@pytest.mark.parametrize("along", [0, 1])
def test_filters_are_free_or_mixtures_of_the_bank(along: int) -> None:
    weight = torch.arange(8.0).view(2, 2, 1, 2)
    earlier = torch.full((1, 4), 100.0)
    mixed = MixedFilters(as_filters(weight, along), earlier, 1, along)
    assert torch.equal(mixed(weight), weight)
    with torch.no_grad():
        mixed.free.fill_(7.0)
        mixed.coefficients.copy_(torch.tensor([[1.0, 2.0, 0.5]]))
    filters = as_filters(weight, along)
    mixtures = as_filters(mixed(weight), along)
    assert mixtures[0].tolist() == [7.0] * 4
    assert torch.allclose(mixtures[1], filters[0] + 2 * filters[1] + 50)
    bank = mixed.stored()["bank"]
    assert bank.shape == (2, 4) and torch.equal(bank[0], earlier[0]) and bank[1].tolist() == [7.0] * 4
