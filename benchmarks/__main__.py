"""Run the benchmarks and write `results/bench.json`.

    python -m benchmarks [--rounds 9] [--peers] [NAME…]

Ratios compare two pieces of work that alternate in one process; low and high are the quartiles over the rounds.
Run nothing else on the machine meanwhile.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch

from palimpsest import machine
from palimpsest.output import survive_any_output
from palimpsest.storage.atomic import write_text

RESULTS = Path("results/bench.json")
BENCHMARKS = {
    "loop_vs_bare": "training",
    "bfloat16_vs_float32": "training",
    "masked_vs_finetune_step": "training",
    "masked_vs_finetune_memory": "training",
    "switch_vs_memcpy": "storage",
    "switch_vs_memcpy_narrow": "storage",
    "switch_milliseconds": "storage",
    "decode_milliseconds": "storage",
    "prepare_vs_naive": "preparation",
    "job_start": "pipeline",
    "noop_all": "pipeline",
    "mini_training_share": "pipeline",
}
"""Module of each benchmark; its function has the name of the benchmark."""
PEERS = dict.fromkeys(
    ("avalanche_vs_bare", "loop_vs_avalanche", "masked_vs_original_step", "masked_vs_original_memory"), "peers"
)
"""Benchmarks in the environment of `make peers`; the others do not include them."""


def main() -> None:
    """Run the benchmarks named on the command line, or all; write their results and keep the others in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modules = {**BENCHMARKS, **PEERS}
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(modules))
    parser.add_argument("--peers", action="store_true", help="run the benchmarks of `make peers`")
    parser.add_argument("--rounds", type=int, default=9, help="repetitions of each benchmark (default 9)")
    options = parser.parse_args()
    for name in options.names:
        if name not in modules:
            parser.error(f"unknown benchmark {name!r}; choose from {', '.join(modules)}")
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for name in options.names or (PEERS if options.peers else BENCHMARKS):
        measure: Callable[[int], object] = getattr(import_module(f"benchmarks.{modules[name]}"), name)
        torch.set_num_threads(machine.cores())  # a previous benchmark may have changed it
        results[name] = asdict(measure(options.rounds))  # type: ignore[call-overload]
        print(line(name, results[name]), flush=True)
        write_text(RESULTS, json.dumps(results, indent=2) + "\n")


def line(name: str, entry: dict[str, float | str]) -> str:
    """Return the line of output for the result of one benchmark."""
    return f"{name:26s} {entry['ratio']:8.3f}   {entry['low']:.3f} … {entry['high']:.3f}   {entry['unit']}"


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in machine.KEEP_MEMORY.items()):
        os.environ.update(machine.KEEP_MEMORY)  # as for the pipeline's jobs; only read at process start
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])
    survive_any_output()
    main()
