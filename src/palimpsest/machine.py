"""What the machine has, found without importing PyTorch."""

import os
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """NVIDIA cards that the system knows."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
