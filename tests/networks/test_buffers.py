import pytest
import torch
from torch import nn

from palimpsest.networks.buffers import ALIGNMENT, aligned, buffer_of, join


def test_joined_tensors_keep_identity_shape_and_values_in_one_buffer() -> None:
    tensors = [torch.randn(3, 5), nn.Parameter(torch.randn(ALIGNMENT)), torch.randn(()), torch.randn(2, 2, 1, 40)]
    before = [tensor.detach().clone() for tensor in tensors]
    buffer = join(tensors)
    assert buffer.shape == (aligned(15) + ALIGNMENT + aligned(1) + aligned(160),)
    for tensor, values in zip(tensors, before, strict=True):
        assert torch.equal(tensor, values)
    buffer += 1
    for tensor, values in zip(tensors, before, strict=True):
        assert torch.equal(tensor, values + 1)
    joined = buffer_of(tensors)
    assert joined is not None and joined.data_ptr() == buffer.data_ptr() and joined.shape == buffer.shape


def test_a_run_of_joined_tensors_is_a_part_of_the_buffer() -> None:
    first, second, third = tensors = [torch.randn(3, 5), torch.randn(7), torch.randn(64)]
    join(tensors)
    part = buffer_of([second, third])
    assert part is not None and part.shape == (ALIGNMENT + 64,) and part.data_ptr() == second.data_ptr()
    assert buffer_of([first, third]) is None and buffer_of([second, first]) is None


@pytest.mark.parametrize(
    "apart",
    [
        [torch.randn(ALIGNMENT), torch.randn(ALIGNMENT)],
        [torch.randn(5)],  # its memory ends before the next multiple
        [torch.randn(2, ALIGNMENT).T],
    ],
)
def test_tensors_elsewhere_have_no_buffer(apart: list[torch.Tensor]) -> None:
    assert buffer_of(apart) is None
