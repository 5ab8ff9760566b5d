"""Time and memory of a training over all its attempts, in a record beside its log.

Snakemake's `benchmark` does not suffice: it times only the last attempt, although an interrupted training resumes
from its last epoch; it does not measure GPU memory; and it repeats a finished training if its file cannot be
written. The record is not an output of the rule, so that a different time reruns nothing. A training without a
record, as in a clone, counts as not measured.
"""

import json
import resource
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from palimpsest.storage.atomic import write_text

MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """Time and memory of one training so far, over all its attempts."""

    key: str
    """Key of the training; see `Progress.key`."""
    seconds: float = 0.0
    """Wall-clock time from the loaded data to the stored task, or to an interrupted attempt's last checkpoint."""
    peak_memory: float = 0.0
    """Peak memory in MiB: of the GPU if the training uses one, otherwise of the process. With several devices, of
    the first one."""
    sha256: str = ""
    """SHA-256 of the stored tensors; empty until the training is done."""

    def figures(self) -> dict[str, float]:
        """Return time and memory by their names in the tables and in MLflow."""
        return {"seconds": self.seconds, "peak_memory": self.peak_memory}


class CostMeter:
    """Meter of an attempt that starts now.

    ``previous`` is the cost of earlier attempts; it is added if it belongs to the same training, by its ``key``.
    """

    def __init__(self, key: str, previous: Cost | None = None) -> None:
        self.previous = previous if previous is not None and previous.key == key else Cost(key)
        self.started = time.perf_counter()

    def cost(self, sha256: str = "") -> Cost:
        """Return the cost of all attempts until now; ``sha256`` is that of the stored tensors, once they exist."""
        return replace(
            self.previous,
            seconds=self.previous.seconds + time.perf_counter() - self.started,
            peak_memory=max(self.previous.peak_memory, peak_memory() / MIB),
            sha256=sha256,
        )


def peak_memory() -> int:
    """Return the peak memory of this process so far in bytes: on the GPU if it uses one, otherwise on the host."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated()
    return resident_memory()


def resident_memory() -> int:
    """Return the peak resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `ru_maxrss` includes the memory of the parent before the exec
        (line,) = [line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def save_cost(path: Path, cost: Cost) -> None:
    """Write the record of a training's cost atomically."""
    write_text(path, json.dumps(asdict(cost)) + "\n")


def load_cost(path: Path) -> Cost | None:
    """Load the record of a training's cost; return None if it is missing or damaged."""
    try:
        return Cost(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
