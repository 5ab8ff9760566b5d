import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from palimpsest.errors import StorageError
from palimpsest.methods.masks import (
    PLANES,
    BinaryMask,
    initial_scores,
    mask_writer,
    pack,
    unpack,
)
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.methods.reparametrised import parametrization_of
from palimpsest.networks.buffers import aligned, join

SCORES = torch.tensor([[0.004, 0.006], [0.005, 1.0]])
WEIGHTS = torch.tensor([[2.0, -3.0], [5.0, 0.5]])


def linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
    return layer


def masked_linear(**settings: Any) -> tuple[nn.Linear, BinaryMask]:
    layer = linear(WEIGHTS)
    mask = BinaryMask(SCORES.clone(), MaskSettings(threshold=5e-3, initial_score=7e-3, **settings))
    parametrize.register_parametrization(layer, "weight", mask, unsafe=True)
    return layer, mask


@pytest.mark.parametrize("start", ["constant", "proportional"])
@pytest.mark.parametrize("weight", [torch.randn(3, 2, 1, 1), torch.zeros(3, 2, 1, 1)])
def test_a_mask_starts_as_all_ones_in_the_shape_of_the_weight(start: str, weight: torch.Tensor) -> None:
    settings = MaskSettings(start=start)  # type: ignore[arg-type]
    mask = BinaryMask(initial_scores(weight, settings), settings)
    assert mask.score.shape == (3, 2, 1, 1) and mask.score.dtype == torch.float32
    assert mask.bits.dtype == torch.bool and mask.bits.all()


def test_scores_start_at_one_value_or_in_proportion_to_the_weights() -> None:
    weight = torch.tensor([[1.0, -3.0], [8.0, 0.0]])  # of a mean magnitude of 3
    constant = MaskSettings(initial_score=0.5, threshold=0.2, start="constant")
    proportional = MaskSettings(initial_score=0.5, threshold=0.2, start="proportional")
    assert initial_scores(weight, constant).flatten().tolist() == pytest.approx([0.5] * 4)
    assert initial_scores(weight, proportional).flatten().tolist() == pytest.approx(
        [0.2 + 0.3 * 1 / 3, 0.5, 0.2 + 0.3 * 8 / 3, 0.2 + 0.3 * 1e-3]
    )


def test_a_weight_is_used_if_its_score_is_above_the_threshold() -> None:
    layer, mask = masked_linear()
    assert mask.bits.tolist() == [[False, True], [False, True]]  # a score at the threshold is not above it
    assert layer.weight.tolist() == [[0, -3], [0, 0.5]]
    assert layer(torch.tensor([[1.0, 2.0]])).tolist() == [[-6, 1]]


def test_the_score_receives_the_gradient_of_the_masked_weight_times_the_weight() -> None:
    layer, mask = masked_linear()
    (layer(torch.tensor([[1.0, 2.0]])) * torch.tensor([[10.0, 100.0]])).sum().backward()
    # gradients: 10 and 100 for output i; times input j for the masked weight (i, j); times the weight for the score
    assert mask.score.grad is not None
    assert mask.score.grad.tolist() == [[10 * 1 * 2, 10 * 2 * -3], [100 * 1 * 5, 100 * 2 * 0.5]]


def gradient_of(**settings: Any) -> list[list[float]]:
    """Return the gradient of the scores when every masked weight has a gradient of 1."""
    layer, mask = masked_linear(**settings)
    layer(torch.ones(1, 2)).sum().backward()
    assert mask.score.grad is not None
    gradient: list[list[float]] = mask.score.grad.tolist()
    return gradient


def test_without_the_weight_factor_the_score_gets_the_sign_of_the_weight() -> None:
    assert gradient_of(weight_factor=False) == [[1, -1], [1, 1]]


def test_a_clipped_surrogate_has_no_gradient_far_from_the_threshold() -> None:
    # distances in units of (initial score - threshold): 0.5, 0.5, 0 and 497.5
    assert gradient_of(surrogate="clipped") == [[2, -3], [5, 0]]


def test_a_sigmoid_surrogate_is_one_at_the_threshold_and_decreases_with_distance() -> None:
    bump = 4 * (1 / (1 + math.exp(-0.5))) * (1 / (1 + math.exp(0.5)))
    gradient = gradient_of(surrogate="sigmoid")
    assert gradient[0] == pytest.approx([2 * bump, -3 * bump], rel=1e-3)
    assert gradient[1] == pytest.approx([5, 0])


def test_averaged_scores_are_the_mean_of_the_added_scores() -> None:
    _, mask = masked_linear(averaged=0.5, score_lr_end=0.75)
    for value in (1.0, 2.0, 6.0):
        mask.score.data.fill_(value)
        mask.update_average()
    mask.apply_average()
    assert mask.score.tolist() == [[pytest.approx(3.0)] * 2] * 2
    assert {"mean", "averaged_steps"} < mask.state_dict().keys()  # a resumed training needs them


def test_the_frozen_weight_gets_no_gradient_and_never_changes() -> None:
    layer, mask = masked_linear()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    for _ in range(5):
        layer(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
    original = layer.parametrizations.weight.original
    assert original.grad is None and torch.equal(original, WEIGHTS)
    assert not torch.equal(mask.score, SCORES)


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("shape", [(64, 3, 3, 3), (2, 5), (1,), (300, 1001), (16, 8, 2, 2)])
def test_packed_masks_equal_the_learned_ones_bit_for_bit(shape: tuple[int, ...], joined: bool) -> None:
    shapes = [(7,), shape, (32, 3)]
    weights = [torch.randn(shape) for shape in shapes]
    for weight in weights:
        weight.flatten()[-1], weight.flatten()[0] = 0, -0.0
    learned = [BinaryMask(torch.rand(shape) / 100, MaskSettings()) for shape in shapes]
    written, before = [torch.full(shape, 9.0) for shape in shapes], [weight.clone() for weight in weights]
    if joined:
        join(weights)
        join(written)
    bits = [pack(mask.bits) for mask in learned]
    write = mask_writer(zip("abc", written, weights, bits, strict=True))
    write()
    write()  # over the results of the first time
    for mask, weight, result, original in zip(learned, weights, written, before, strict=True):
        computed = mask(weight).detach()
        assert np.array_equal(
            computed.numpy().view(np.uint32), result.numpy().view(np.uint32)
        )  # signs of zeros too
        assert torch.equal(result != 0, mask.bits & (weight != 0)) and torch.equal(weight, original)


def test_the_writer_keeps_one_bit_per_weight() -> None:
    weights, outputs = torch.randn(300, 1001), torch.empty(300, 1001)
    join([weights])
    join([outputs])
    write = mask_writer([("layer", outputs, weights, pack(torch.ones(300, 1001) > 0))])
    assert isinstance(write, partial)
    kept = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in write.args}
    given = [tensor.untyped_storage().data_ptr() for tensor in (weights, outputs)]
    of_task = sum(size for address, size in kept.items() if address not in given)
    assert of_task == aligned(300 * 1001) // 8 + 4 * PLANES  # bits and shifts


def test_a_layer_returns_its_learned_mask() -> None:
    layer, mask = masked_linear()
    assert parametrization_of(layer) is mask
    with pytest.raises(ValueError, match="unpack"):
        parametrization_of(linear(WEIGHTS))


def test_ten_bits_are_two_bytes_with_the_first_weight_in_the_highest_bit() -> None:
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
    packed = pack(mask)
    assert packed.dtype == torch.uint8
    assert packed.tolist() == [0b10110001, 0b11000000]
    assert torch.equal(unpack(packed, mask.shape), mask)


def test_a_mask_is_packed_in_index_order_in_any_memory_format() -> None:
    mask = torch.rand(4, 3, 3, 3) > 0.5
    assert torch.equal(pack(mask.contiguous(memory_format=torch.channels_last)), pack(mask))


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_unpacking_is_the_inverse_of_packing(shape: list[int], seed: int) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.5
    packed = pack(mask)
    assert packed.numel() == -(-mask.numel() // 8)
    unpacked = unpack(packed, mask.shape)
    assert unpacked.dtype == torch.bool and torch.equal(unpacked, mask)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_mask_of_another_length_is_refused_with_both_lengths(length: int) -> None:
    with pytest.raises(StorageError, match=f"expected a mask of 2 bytes, found {length}"):
        unpack(torch.zeros(length, dtype=torch.uint8), torch.Size([2, 5]))
    with pytest.raises(StorageError, match=f"^layer 'up': expected a mask of 2 bytes, found {length}"):
        mask_writer([("up", torch.zeros(2, 5), torch.zeros(2, 5), torch.zeros(length, dtype=torch.uint8))])
