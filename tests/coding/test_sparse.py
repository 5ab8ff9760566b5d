"""Code of mostly zero integers: round trip, size beside the entropy, and damaged bytes."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.coding.sparse import LARGEST, decode, encode, entropy
from palimpsest.coding.tables import LONGEST, TOTAL, run_table, value_table
from palimpsest.errors import StorageError
from palimpsest.methods.coded import CodedWeight
from palimpsest.methods.coded_settings import CodedSettings
from tests.conftest import ROOT

Group = np.ndarray


def group(length: int, density: float, seed: int = 0) -> Group:
    """Return integers of which a share is not zero, smaller magnitudes more often."""
    random = np.random.default_rng(seed)
    values = random.choice([-3, -2, -1, 1, 2], p=[0.02, 0.08, 0.4, 0.4, 0.1], size=length)
    return (values * (random.random(length) < density)).astype(np.int32)


def restored(code: bytes, lengths: list[int]) -> list[list[int]]:
    groups = [np.zeros(length, dtype=np.int32) for length in lengths]
    for values, (positions, integers) in zip(groups, decode(code, lengths), strict=True):
        values[positions] = integers
    return [values.tolist() for values in groups]


integers = st.one_of(st.just(0), st.integers(-LARGEST, LARGEST))


@given(st.lists(st.lists(integers, max_size=40), max_size=6))
def test_integers_are_restored(groups: list[list[int]]) -> None:
    code = encode([np.array(values, dtype=np.int32) for values in groups])
    assert restored(code, [len(values) for values in groups]) == groups


@pytest.mark.parametrize("zeros", [0, 1, LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, 10_000])
def test_runs_of_any_length_are_restored(zeros: int) -> None:
    values = np.array([*[0] * zeros, -1, *[0] * zeros, 2, *[0] * zeros], dtype=np.int32)
    assert restored(encode([values]), [len(values)]) == [values.tolist()]


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_the_size_is_that_of_the_entropy(density: float) -> None:
    values = group(300_000, density)
    assert 8 * len(encode([values])) < 1.01 * entropy([values]) + 64


def test_groups_of_different_frequencies_are_smaller_apart() -> None:
    rare, frequent = group(20_000, 0.01), group(20_000, 0.4)
    assert len(encode([rare, frequent])) < 0.95 * len(encode([np.concatenate([rare, frequent])]))


def test_the_bytes_are_the_same_on_every_machine() -> None:
    code = encode([group(40, 0.3), np.zeros(5, dtype=np.int32), group(3, 1.0)])
    assert code.hex() == "03010104050100000201010100a3ea2ff26302e95286570000"


def documented_programs() -> dict[str, Any]:
    """Return the functions of the page on the file format for codes of integers."""
    page = (ROOT / "docs/file-format.md").read_text("utf-8")
    blocks = [
        block
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        if "def decode" in block or "def weight_of" in block
    ]
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    return names


@pytest.mark.parametrize("per_kernel", [True, False])
@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 4, 1, 1), (5, 7)])
@pytest.mark.parametrize("outputs", [0, 1])
def test_the_documented_program_computes_a_weight(shape: tuple[int, ...], per_kernel: bool, outputs: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    weight[0, 0] = 0.5  # a kernel without deviation
    coded = CodedWeight(weight, outputs, 0.4, CodedSettings(bits=1, per_kernel=per_kernel))
    with torch.no_grad():
        for latent in coded.latents.values():
            latent.normal_(std=1.5)
    coded.freeze(0.5)
    tensors = coded.stored()
    assert len(tensors["steps"]) == (4 if per_kernel and len(shape) == 4 and shape[2] > 1 else 2)
    program = documented_programs()["weight_of"]
    result = program(weight.numpy(), tensors["code"].numpy().tobytes(), tensors["steps"].tolist(), outputs)
    expected = coded(weight).detach()
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-5)
    assert result.dtype == np.float32 and not torch.equal(expected, weight)


def test_the_documented_decoder_restores_integers() -> None:
    names = documented_programs()
    groups = [group(3000, 0.01), group(500, 0.3), np.zeros(7, dtype=np.int32), group(90, 1.0), group(0, 1.0)]
    code = encode(groups)
    assert names["decode"](code, [len(values) for values in groups]) == [values.tolist() for values in groups]


@pytest.mark.parametrize("length", [0, 1, 3, 5, 9, -4, -1])
def test_a_truncated_code_is_refused(length: int) -> None:
    code = encode([group(400, 0.3)])
    with pytest.raises(StorageError, match=r"^the code "):
        decode(code[:length], [400])


@pytest.mark.parametrize(("lengths", "message"), [([100], "position|impossible"), ([400, 2], "code"), ([], "code")])
def test_a_code_of_other_integers_is_refused(lengths: list[int], message: str) -> None:
    with pytest.raises(StorageError, match=message):
        decode(encode([group(400, 0.3)]), lengths)


@pytest.mark.parametrize("seed", [1, 3, 4])  # their words continue the run of zeros before the integer
def test_a_forged_code_is_not_decoded_far_beyond_the_length(seed: int) -> None:
    length = 2**16
    code = bytes([1, 1, 0]) + np.random.default_rng(seed).bytes(32)
    with pytest.raises(StorageError, match=r"^the code has an integer behind position \d+ of 65536$") as raised:
        decode(code, [length])
    assert length <= int(re.findall(r"\d+", str(raised.value))[0]) < length + LONGEST


@given(st.binary(max_size=80), st.lists(st.integers(0, 300), max_size=4))
def test_random_bytes_never_exceed_the_lengths(code: bytes, lengths: list[int]) -> None:
    try:
        groups = decode(code, lengths)
    except StorageError:
        return
    for length, (positions, values) in zip(lengths, groups, strict=True):
        assert len(positions) == len(values) <= length
        assert (np.diff(positions) > 0).all() and (not len(positions) or positions[-1] < length)


@given(st.integers(0, 2**31), st.integers(1, 2**31), st.lists(st.integers(0, 2**31), min_size=2, max_size=254))
def test_tables_have_a_frequency_for_every_symbol(zeros: int, others: int, counts: list[int]) -> None:
    counts[0] += 1
    for table in (run_table(zeros, others), value_table(np.array(counts, dtype=np.int64))):
        assert table.min() >= 1 and table.sum() == TOTAL
