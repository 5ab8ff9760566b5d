"""What the machine has, found without importing PyTorch, and how memory is best held on it."""

import os
import platform
from pathlib import Path

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
"""Environment of a training on the CPU under glibc: freed memory stays with the process.

Otherwise every step hands its activations back to the system and has them cleared page by page when it asks
again: some ten thousand page faults and an eighth of the time per step. Peak memory is the same.
"""

MAX_MEGAPIXELS = 500.0
"""The largest picture that is read unless a setting or option raises it: 2 GB as RGB, 8 GB with transparency, 12 GB
while it is translated."""


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """NVIDIA cards that the system knows."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the kind of processor: vendor, family and model on Linux, elsewhere what the system calls it.

    The marketing name is no help: clouds give several kinds of processor the same one.
    """
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    keys = ("vendor_id", "cpu family", "model") if "vendor_id" in fields else ("CPU implementer", "CPU part")
    known = [fields[key] for key in keys if key in fields]
    return " ".join([platform.machine(), *(known or [platform.processor()])]).strip()
