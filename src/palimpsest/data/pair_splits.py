"""Division of pairs into train and val if their folder has no splits; one pair in ten belongs to val."""

import hashlib
import os

from palimpsest.data.pictures import Record
from palimpsest.errors import DataError

VAL_SHARE = 0.1
"""Fraction of the pairs in val, if there are no folders of splits."""


def split_by_hash(records: list[Record], title: str) -> dict[str, list[Record]]:
    """Return the pairs of ``train`` and ``val``; a hash of its name puts a pair into val, with odds of `VAL_SHARE`.

    A pair stays in its split if others are added. Each split gets at least one usable pair: if val would have none,
    the pair with the smallest hash, and if train would have none, the pair with the largest. An empty list gives
    empty splits. ``title`` is the name of the data set in the message.

    Raises:
        DataError: there is only one usable pair.
    """
    usable = usable_by_hash(records, title)
    val = {record.key for record in records if _hash(record.key) < VAL_SHARE * 2**64}
    if usable and usable[0].key not in val:
        val.add(usable[0].key)
    if usable and usable[-1].key in val:
        val.remove(usable[-1].key)
    return with_keys(records, val)


def split_exactly(records: list[Record], title: str) -> dict[str, list[Record]]:
    """Return the pairs of ``train`` and ``val``; `VAL_SHARE` of the usable pairs, rounded, at least one, are val.

    Their names have the smallest hashes. ``title`` is the name of the data set in the message.

    Raises:
        DataError: there is only one usable pair.
    """
    usable = usable_by_hash(records, title)
    return with_keys(records, {record.key for record in usable[: max(1, round(VAL_SHARE * len(usable)))]})


def usable_by_hash(records: list[Record], title: str) -> list[Record]:
    """Return the pairs without a fault, sorted by the hashes of their names.

    Raises:
        DataError: there is only one such pair.
    """
    usable = sorted((record for record in records if not record.fault), key=lambda record: _hash(record.key))
    if len(usable) == 1:
        raise DataError(
            f"{title}: only one usable pair, {usable[0].source}, but train and val need one each; add pairs, or "
            "folders train and val"
        )
    return usable


def with_keys(records: list[Record], val: set[str]) -> dict[str, list[Record]]:
    """Return the pairs whose keys are in ``val``, and all others as ``train``."""
    return {
        "train": [record for record in records if record.key not in val],
        "val": [record for record in records if record.key in val],
    }


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(key)).digest()[:8])
