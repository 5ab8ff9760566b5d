"""Packed bits of a stored task, such as masks and signs, as entropy codes where these save at least a tenth.

A code stands for all bits of a tensor, uint8; `docs/file-format.md` describes it. A mask with a fifth of zeros
takes 0.72 bit per weight. One with two fifths would take 0.98 and stays packed, because it is read at once.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palimpsest.coding.sparse import decode, encode
from palimpsest.errors import StorageError

Packed = NDArray[np.uint8]
Shapes = Mapping[str, Sequence[int]]
"""Shapes of the tensors that are stored as codes, by name."""
WORTH = 0.9
"""Largest size of a code, in sizes of the packed bits."""
ENTRY = 64
"""Bytes that name and shape of a code take in the header of a file, at most; a code has to save more."""
LARGEST = 2**30
"""Largest size of all decoded tensors of a file together, in bytes of packed bits."""


def encoded_bits(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Return tensors with codes in place of those of packed bits, where they are worth it, and the latter's shapes.

    Codes are uint8 (bytes,) on the CPU.
    """
    stored, shapes = dict(tensors), {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.uint8:
            code = code_of(tensor.detach().cpu().contiguous().numpy())
            if len(code) <= WORTH * tensor.nbytes and len(code) + ENTRY < tensor.nbytes:
                stored[name], shapes[name] = (
                    torch.frombuffer(bytearray(code), dtype=torch.uint8),
                    list(tensor.shape),
                )
    return stored, shapes


def decoded_bits(stored: Mapping[str, Tensor], shapes: Shapes, limit: int = LARGEST) -> dict[str, Tensor]:
    """Return the tensors that `encoded_bits` received; ``limit`` is the largest number of decoded bytes.

    Raises:
        StorageError: a code is missing or damaged, or a shape is impossible or too large.
    """
    tensors = dict(stored)
    for name, shape in shapes.items():
        size = math.prod(shape) if all(side >= 0 for side in shape) else -1
        if not 0 <= size <= limit:
            raise StorageError(f"tensor {name!r}: the header has the impossible shape {list(shape)}")
        if name not in stored or stored[name].dtype != torch.uint8:
            raise StorageError(f"tensor {name!r}: its code is missing")
        limit -= size
        try:
            bits = bits_of(stored[name].cpu().numpy().tobytes(), 8 * size)
        except StorageError as error:
            raise StorageError(f"tensor {name!r}: {error}") from error
        tensors[name] = torch.from_numpy(bits).reshape(list(shape))
    return tensors


def code_of(packed: Packed) -> bytes:
    """Return the code of packed bits: of their differences to the more frequent bit, which are mostly zero."""
    bits = np.unpackbits(packed).astype(np.int32)
    zeros = int((bits == 0).sum())
    return encode([bits - (0 < zeros < len(bits) / 2)])


def bits_of(code: bytes, number: int) -> Packed:
    """Return packed bits from their code; ``number`` is the number of bits, a multiple of 8.

    Raises:
        StorageError: the code is damaged or does not fit the number.
    """
    ((positions, values),) = decode(code, [number])
    if len(values) and (abs(values[0]) > 1 or (values != values[0]).any()):
        raise StorageError("the code has integers that are no bits")
    bits = np.full(number, len(values) > 0 and values[0] < 0, dtype=np.uint8)
    bits[positions] ^= 1
    return np.packbits(bits)
