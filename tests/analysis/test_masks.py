from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from palimpsest.analysis.masks import MaskBits, flat, masks_of, similarity_rows, zero_rows
from palimpsest.methods import BASE
from palimpsest.methods.masks import Mask
from palimpsest.networks.trunk import trunk_layers

Study = Any


def mask(**layers: str) -> MaskBits:
    return {name: np.array([bit == "1" for bit in bits]) for name, bits in layers.items()}


MASKS = {
    "base": mask(conv1="1111", conv2="11111111"),
    "second": mask(conv1="1100", conv2="11110000"),
    "third": mask(conv1="1010", conv2="11110001"),
}


def test_zeros_of_each_layer_and_of_all() -> None:
    rows = zero_rows(MASKS)
    assert [(r["task"], r["layer"], r["weights"]) for r in rows] == [
        ("second", "conv1", 4),
        ("second", "conv2", 8),
        ("second", "all", 12),
        ("third", "conv1", 4),
        ("third", "conv2", 8),
        ("third", "all", 12),
    ]
    assert [r["zeros"] for r in rows] == pytest.approx([2 / 4, 4 / 8, 6 / 12, 2 / 4, 3 / 8, 5 / 12])


def test_similarity_has_its_value_under_independence() -> None:
    rows = {(r["task"], r["other"]): (r["similarity"], r["independent"]) for r in similarity_rows(MASKS)}
    # second and third: conv1 agrees at 2 of 4, conv2 at 7 of 8; fractions of ones 6/12 and 7/12
    assert rows == {
        ("second", "base"): pytest.approx((6 / 12, 6 / 12)),
        ("third", "base"): pytest.approx((7 / 12, 7 / 12)),
        ("third", "second"): pytest.approx((9 / 12, 6 / 12 * 7 / 12 + 6 / 12 * 5 / 12)),
    }


def test_equal_masks_agree_everywhere_and_opposite_ones_nowhere() -> None:
    mask_a, opposite = mask(conv1="1110"), mask(conv1="0001")
    rows = similarity_rows({"one": mask_a, "same": mask_a, "other": opposite})
    assert [row["similarity"] for row in rows] == [1, 0, 0]
    assert rows[0]["independent"] == pytest.approx(0.75**2 + 0.25**2)
    assert rows[1]["independent"] == pytest.approx(2 * 0.75 * 0.25)


def test_independent_masks_agree_as_expected() -> None:
    random = np.random.default_rng(0)
    drawn = {name: {"conv": random.random(200_000) < share} for name, share in (("a", 0.3), ("b", 0.8))}
    (row,) = similarity_rows(drawn)
    assert row["similarity"] == pytest.approx(row["independent"], abs=0.005)
    assert row["independent"] == pytest.approx(0.3 * 0.8 + 0.7 * 0.2, abs=0.005)


def test_without_masks_nothing_is_compared() -> None:
    assert zero_rows({}) == [] and similarity_rows({}) == []


def test_bits_are_in_the_order_of_the_layers() -> None:
    assert flat(mask(b="10", a="011")).tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("method", ["piggyback", "piggyback-affine", "piggyback-ternary"])
def test_masks_are_those_of_the_files_and_ones_for_the_base(new_study: Callable[..., Study], method: str) -> None:
    study = new_study()
    study.store_untrained(BASE, "shapes")

    def close_some(network: nn.Module) -> None:
        for number, module in enumerate(m for m in network.modules() if isinstance(m, Mask)):
            with torch.no_grad():
                module.score.view(-1)[: number + 1] = 0
                module.score.view(-1)[-1] *= -1  # a ternary mask inverts this weight

    study.store_untrained(method, "halves", close_some)
    study.store_untrained(method, "colour")
    masks = masks_of(study.stored(method))
    layers = dict(trunk_layers(study.networks[BASE, "shapes"]))
    assert list(masks) == ["shapes", "halves", "colour"]
    for task, bits in masks.items():
        assert list(bits) == list(layers)
        for number, (name, layer) in enumerate(layers.items()):
            expected = np.ones(layer.weight.numel(), dtype=np.bool_)
            if task == "halves":
                expected[: number + 1] = False
                expected[-1] &= method == "piggyback-ternary"
            assert np.array_equal(bits[name], expected)


@pytest.mark.parametrize("method", ["scratch", "decoder", "fine-tune", "packnet", "bitdelta"])
def test_a_method_without_masks_has_none(new_study: Callable[..., Study], method: str) -> None:
    study = new_study(method_settings={"bitdelta": {"threshold": 0.7}})  # zero changes, but no zero weights
    study.store_untrained(BASE, "shapes")
    for task in ("halves", "colour"):
        study.store_untrained(method, task)
    assert masks_of(study.stored(method)) == {}
