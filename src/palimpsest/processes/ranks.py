"""Rank of this process in a training with one process per device."""

import os


def is_rank_zero() -> bool:
    """Return True if this process is the only or the first one of a training, which has rank 0.

    The first process starts the others by its own command, with their rank in LOCAL_RANK. Only the first writes
    files.
    """
    return os.environ.get("LOCAL_RANK", "0") == "0"
