"""Cores, GPUs and processor of the machine, without an import of PyTorch, and settings of its memory."""

import os
import platform
from pathlib import Path

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
"""Environment of a training on the CPU under glibc, in which the process keeps freed memory.

Otherwise every step returns the memory of its activations to the system, which clears it page by page at the next
allocation: about ten thousand page faults and an eighth of the time per step. Peak memory does not change.
"""

MAX_MEGAPIXELS = 500.0
"""Default limit of a picture's size: 2 GB of memory as RGB, 8 GB with transparency, 12 GB during translation."""


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """Return the number of NVIDIA GPUs."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the kind of processor: architecture, then vendor, family and model on Linux or else the system's name.

    The marketing name is not specific enough: clouds give several kinds of processor the same name.
    """
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    keys = ("vendor_id", "cpu family", "model") if "vendor_id" in fields else ("CPU implementer", "CPU part")
    values = [fields[key] for key in keys if key in fields]
    return " ".join([platform.machine(), *(values or [platform.processor()])]).strip()
