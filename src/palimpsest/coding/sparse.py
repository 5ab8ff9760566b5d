"""Code of groups of integers, most of them zero: lengths of the runs of zeros, and values of the other integers.

Integers of a group are coded as if they were drawn independently, with the frequencies that they have in the group;
a group therefore collects integers that are similar. Size and time grow with the number of nonzero integers.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from palimpsest.coding.tables import LONGEST, Table, run_table, value_table
from palimpsest.errors import StorageError

Coder: TypeAlias = Any
"""Entropy coder of the library, which has no types."""
Model: TypeAlias = Any
"""Frequencies of symbols, as the library takes them."""

Integers = NDArray[np.int32]
Positions = NDArray[np.int64]

LARGEST = 127
"""Largest magnitude of an integer."""
WORD = 4
"""Bytes of a word of the entropy coder, which has the lowest byte first."""


def encode(groups: Sequence[Integers]) -> bytes:
    """Return the code of groups of integers up to ±`LARGEST`, each a flat array; `decode` needs their lengths."""
    coder, heads = stream.stack.AnsCoder(), []
    for group in reversed(groups):  # the coder is a stack: what is encoded last is decoded first
        values = group[group != 0]
        counts = counts_of(values)
        heads.append(bytes([len(counts) // 2]) + b"".join(varint(int(count)) for count in counts))
        if len(values):
            coder.encode_reverse(symbols_of(values, len(counts) // 2), model_of(value_table(counts)))
            coder.encode_reverse(runs_of(group), model_of(run_table(len(group) - len(values), len(values))))
    return b"".join(reversed(heads)) + bytes(coder.get_compressed().astype("<u4").tobytes())


def decode(code: bytes, lengths: Sequence[int]) -> list[tuple[Positions, Integers]]:
    """Return positions and values of the nonzero integers of each group.

    ``lengths`` are the lengths of the groups.

    Raises:
        StorageError: the code does not fit the lengths.
    """
    head = Head(code)
    counts = [head.counts(length) for length in lengths]
    words = code[head.read :]
    if len(words) % WORD:
        raise StorageError("the code is truncated")
    try:
        coder = stream.stack.AnsCoder(np.frombuffer(words, dtype="<u4").astype(np.uint32))
    except ValueError as error:
        raise StorageError(f"the code is damaged ({error})") from error
    decoded = [group_from(coder, *group) for group in zip(counts, lengths, strict=True)]
    if not coder.is_empty():
        raise StorageError("the code is longer than its integers")
    return decoded


def group_from(coder: Coder, counts: Table, length: int) -> tuple[Positions, Integers]:
    """Decode the next group of this length; return positions and values of its nonzero integers.

    ``counts`` are those of `counts_of`.

    Raises:
        StorageError: the positions exceed the length.
    """
    number, largest = int(counts.sum()), len(counts) // 2
    if not number:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
    positions = positions_from(coder, number, model_of(run_table(length - number, number)), length)
    symbols: Integers = coder.decode(model_of(value_table(counts)), number)
    return positions, symbols - largest + (symbols >= largest)


def counts_of(values: Integers) -> Table:
    """Return how often −n, …, −1, 1, …, n occur among nonzero values, int64 (2n,); n is the largest magnitude."""
    largest = int(np.abs(values).max(initial=0))
    return np.bincount(symbols_of(values, largest), minlength=2 * largest).astype(np.int64)


def symbols_of(values: Integers, largest: int) -> Integers:
    """Return nonzero values as symbols: −largest, …, −1, 1, …, largest as 0, …, 2 · largest − 1."""
    return values + largest - (values > 0)


def model_of(table: Table) -> Model:
    """Return the model of the entropy coder with exactly the frequencies of a table.

    The coder gives each symbol a frequency of 1 in advance, and the rest in proportion to the argument. The factor
    of proportion is 1 here, so that no frequency is rounded.
    """
    return stream.model.Categorical((table - 1).astype(np.float64), perfect=False)


def runs_of(group: Integers) -> Integers:
    """Return the symbols of the runs of zeros before each nonzero integer; see `tables.run_table`."""
    lengths = np.diff(np.flatnonzero(group), prepend=-1) - 1
    continued = lengths // LONGEST
    symbols = np.full(len(lengths) + int(continued.sum()), LONGEST, dtype=np.int32)
    symbols[np.arange(len(lengths)) + np.cumsum(continued)] = lengths % LONGEST
    return symbols


def positions_from(coder: Coder, number: int, runs: Model, length: int) -> Positions:
    """Decode runs of zeros; return the positions of the ``number`` integers after them.

    Raises:
        StorageError: the positions exceed the length. A forged code ends there too, although a few of its bytes
            can contain runs without end.
    """
    parts, missing, end = [], number, 0
    while missing:
        symbols: Integers = coder.decode(runs, missing)
        parts.append(symbols)
        ended = int((symbols < LONGEST).sum())
        missing, end = missing - ended, end + int(symbols.sum(dtype=np.int64)) + ended
        if end > length:
            raise StorageError(f"the code has an integer behind position {end - 1} of {length}")
    symbols = np.concatenate(parts)
    ends = symbols < LONGEST
    positions: Positions = np.cumsum(symbols + ends, dtype=np.int64)[ends] - 1
    return positions


class Head:
    """Reader of the counts before the words of a code.

    A group has a byte with its largest magnitude n, and 2n counts, each in digits of seven bits, the lowest first;
    the highest bit of a byte says that another digit follows.
    """

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.read = 0
        """Number of bytes read."""

    def counts(self, length: int) -> Table:
        """Read the counts of a group of this length.

        Raises:
            StorageError: the counts exceed the length, or the code ends.
        """
        largest = self.byte()
        counts = np.array([self.number() for _ in range(2 * largest)], dtype=np.int64)
        if largest > LARGEST or (largest and not 0 < counts.sum() <= length):
            raise StorageError("the code is damaged (impossible counts)")
        return counts

    def number(self) -> int:
        """Read one number below 2³⁵.

        Raises:
            StorageError: the code ends, or the number is too large.
        """
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise StorageError("the code is damaged (a number is too large)")

    def byte(self) -> int:
        """Read one byte.

        Raises:
            StorageError: the code ends.
        """
        if self.read >= len(self.code):
            raise StorageError("the code is truncated")
        self.read += 1
        return self.code[self.read - 1]


def varint(number: int) -> bytes:
    """Return a number as `Head.number` reads it."""
    digits = list(sevens(number))
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])


def sevens(number: int) -> Iterator[int]:
    """Yield the digits of seven bits of a number, the lowest first."""
    yield number & 0x7F
    while number := number >> 7:
        yield number & 0x7F


def entropy(groups: Sequence[Integers]) -> float:
    """Return the bits of groups of integers at their entropy, if each has the frequencies of its group."""
    bits = 0.0
    for group in groups:
        _, counts = np.unique(group, return_counts=True)
        bits -= float((counts * np.log2(counts / counts.sum())).sum())
    return bits
