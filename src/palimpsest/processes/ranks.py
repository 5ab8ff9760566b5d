"""Rank of this process among those of one training, each of which has a device of its own."""

import os


def is_rank_zero() -> bool:
    """Return whether this process is alone, or the first of those that train together.

    The first process starts the others by its own command, with their rank in LOCAL_RANK, and alone writes files.
    """
    return os.environ.get("LOCAL_RANK", "0") == "0"
