"""What a training takes of time and memory, over all its attempts: a record beside its log.

Not left to Snakemake's `benchmark`, which times the last attempt alone, where an interrupted training goes on from
its last epoch; sees no memory of a GPU; and has a finished training made again where its own file cannot be
written. The record is no output of the rule either: nothing is made anew because two runs take their time, and
where the record is missing, as in a clone, what it says counts as not measured.
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
    """What a training has taken so far."""

    key: str
    """Identifies the training; see `Progress.key`."""
    seconds: float = 0.0
    """By the clock, from the loaded data to the stored task; of an interrupted attempt to its last checkpoint."""
    peak_memory: float = 0.0
    """The most MiB at any time: of the GPU where it trains on one, otherwise of the process. Of several devices
    those of the first."""
    sha256: str = ""
    """Of the tensors that the training left; empty as long as it is not done."""

    def figures(self) -> dict[str, float]:
        """The numbers by their names."""
        return {"seconds": self.seconds, "peak_memory": self.peak_memory}


class CostMeter:
    """Counts from the moment it is made, on top of what earlier attempts of the same training have taken."""

    def __init__(self, key: str, before: Cost | None = None) -> None:
        self.before = before if before is not None and before.key == key else Cost(key)
        self.begun = time.perf_counter()

    def cost(self, sha256: str = "") -> Cost:
        """What all attempts together have taken by now."""
        return replace(
            self.before,
            seconds=self.before.seconds + time.perf_counter() - self.begun,
            peak_memory=max(self.before.peak_memory, peak_memory() / MIB),
            sha256=sha256,
        )


def peak_memory() -> int:
    """The most bytes that this process has had at any time: of a GPU, where it has used one."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated()
    return resident_memory()


def resident_memory() -> int:
    """The largest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts into `ru_maxrss` what the process was before its exec: its parent, that is
        (line,) = [line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def save_cost(path: Path, cost: Cost) -> None:
    """Write a record, whole or not at all."""
    write_text(path, json.dumps(asdict(cost)) + "\n")


def load_cost(path: Path) -> Cost | None:
    """A record; None where there is none that can be read."""
    try:
        return Cost(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
