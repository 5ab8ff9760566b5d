"""Packed bits and their codes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from palimpsest.coding.sparse import encode
from palimpsest.errors import StorageError
from palimpsest.methods.base import Component
from palimpsest.storage.bit_code import bits_of, decoded_bits, encoded_bits
from palimpsest.storage.task_file import Provenance, load_task, save_task


def packed(share: float, number: int = 8000, seed: int = 0) -> Tensor:
    """Return random packed bits, of which this share is one."""
    return torch.from_numpy(np.packbits(np.random.default_rng(seed).random(number) < share))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.8, 0.99, 1.0])
def test_codes_are_close_to_the_entropy_and_exact(share: float) -> None:
    bits = {"a.mask": packed(share).reshape(2, -1)}
    stored, shapes = encoded_bits(bits)
    ones = float(np.unpackbits(bits["a.mask"].numpy()).mean())
    shares = [part for part in (ones, 1 - ones) if part]
    entropy = -sum(part * np.log2(part) for part in shares) * 1000
    assert shapes == {"a.mask": [2, 500]}
    assert entropy - 1 <= stored["a.mask"].nbytes <= 1.01 * entropy + 24
    assert torch.equal(decoded_bits(stored, shapes)["a.mask"], bits["a.mask"])


@pytest.mark.parametrize("share", [0.42, 0.5, 0.58])
def test_bits_whose_code_saves_less_than_a_tenth_or_its_entry_stay(share: float) -> None:
    bits = {"small.mask": packed(0.01, 600), "even.mask": packed(share)}
    stored, shapes = encoded_bits(bits)
    assert not shapes and stored == bits


def test_only_bits_are_coded() -> None:
    tensors = {"head.weight": torch.zeros(4, 400), "numbers": torch.zeros(400, dtype=torch.int8)}
    assert encoded_bits(tensors) == (tensors, {})


@given(st.binary(max_size=60), st.integers(0, 900))
def test_any_bits_are_restored(content: bytes, zeros: int) -> None:
    bits = torch.tensor([*content, *bytes(zeros)], dtype=torch.uint8)
    stored, shapes = encoded_bits({"bits": bits})
    assert torch.equal(decoded_bits(stored, shapes)["bits"], bits)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a.mask": [-1, -1000]}, "impossible shape"),
        ({"a.mask": [2**31]}, "impossible shape"),
        ({"a.mask": [2]}, "'a.mask': the code"),
        ({"b.mask": [1000]}, "'b.mask': its code is missing"),
        ({"head": [1000]}, "'head': its code is missing"),
    ],
)
def test_impossible_shapes_are_refused(shapes: dict[str, list[int]], message: str) -> None:
    stored, _ = encoded_bits({"a.mask": packed(0.1), "head": torch.zeros(3)})
    with pytest.raises(StorageError, match=message):
        decoded_bits(stored, shapes)


def test_all_shapes_together_stay_below_the_limit() -> None:
    stored, shapes = encoded_bits({"a.mask": packed(0.1), "b.mask": packed(0.1)})
    assert decoded_bits(stored, shapes, limit=2000).keys() == stored.keys()
    with pytest.raises(StorageError, match=r"'b\.mask': the header has the impossible shape"):
        decoded_bits(stored, shapes, limit=1999)


@pytest.mark.parametrize("integers", [[0, 2, 0, 0], [1, -1, 0, 0]])
def test_codes_of_other_integers_are_refused(integers: list[int]) -> None:
    code = encode([np.array([*integers, 0, 0, 0, 0], dtype=np.int32)])
    with pytest.raises(StorageError, match="integers that are no bits"):
        bits_of(code, 8)


def test_a_stored_task_has_its_bits_and_the_bytes_of_the_file(tmp_path: Path) -> None:
    path, bits = tmp_path / "task.safetensors", packed(0.1)
    parts = [Component("mask", {"a.mask": bits}), Component("head", {"head.weight": torch.zeros(2, 3)})]
    sha256 = save_task(path, parts, Provenance("mini", 0, "piggyback", "a", {}, None))
    stored = load_task(path)
    assert stored.sha256 == sha256 and torch.equal(stored.components[0].tensors["a.mask"], bits)
    assert stored.sizes["mask"] < 0.5 * bits.nbytes and stored.sizes["head"] == 24
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    assert header["a.mask"]["shape"] == [stored.sizes["mask"]]
