"""Tensors one after another in one buffer, so that a single operation reads or writes all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 32
"""Each tensor starts at a multiple of this number of elements; the length of the buffer is a multiple too."""


def join(tensors: Sequence[Tensor]) -> Tensor:
    """Move tensors of the same dtype and device into a new buffer, in place, and return the buffer, 1-D.

    The tensors stay the same objects with the same values; only their memory changes. Gaps contain zeros.
    """
    gaps = [tensor.detach().new_zeros(aligned(tensor.numel()) - tensor.numel()) for tensor in tensors]
    pairs = zip(tensors, gaps, strict=True)
    buffer = torch.cat([piece for tensor, gap in pairs for piece in (tensor.detach().flatten(), gap)])
    start = 0
    for tensor in tensors:
        tensor.data = buffer[start : start + tensor.numel()].view(tensor.shape)
        start += aligned(tensor.numel())
    return buffer


def buffer_of(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return the memory of tensors that `join` moved, from the first to the last of these, 1-D.

    Return None if they do not lie in one buffer without others between them.
    """
    first = tensors[0].detach()
    end = first.storage_offset()
    for tensor in tensors:
        same = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not (same and tensor.dtype == first.dtype and tensor.is_contiguous() and tensor.storage_offset() == end):
            return None
        end += aligned(tensor.numel())
    if end * first.element_size() > first.untyped_storage().nbytes():
        return None
    return first.as_strided((end - first.storage_offset(),), (1,))


def aligned(number: int) -> int:
    """Return the smallest multiple of `ALIGNMENT` that is at least ``number``."""
    return -(-number // ALIGNMENT) * ALIGNMENT
