"""What a run of the pipeline spends beside training: the start of a job, a run with nothing to do, all the rest."""

import base64
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ratios import Ratio, spread
from palimpsest import machine
from palimpsest.tracking import IDENTITY, connect, experiment_name

PRESET = "mini"
SETTINGS = {"preset": PRESET, "data_root": None}
"""Laid over params.yaml, which may have been set to another preset."""
FIRST_STEP = """
import sys
import palimpsest.training.loop as loop
def first(*arguments):
    sys.exit()
loop.training_loader = first
import runpy
runpy.run_module("pipeline.train", run_name="__main__", alter_sys=True)
"""
"""Runs a training job up to its first batch."""


def job_start(rounds: int) -> Ratio:
    """Seconds from the start of a training job's process to its first step."""
    root = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        for part in ("params.yaml", "styles", "data", "models", "src", "pipeline"):
            (Path(name) / part).symlink_to(root / part)
        lesson = ["--seed", "0", "--method", "piggyback", "--task", "voc-seg"]
        job = [sys.executable, "-c", FIRST_STEP, *lesson, "--config", json.dumps(SETTINGS)]
        return spread([wall(job, name) for _ in range(rounds)], "s")


def noop_all(rounds: int) -> Ratio:
    """Seconds that `snakemake all` takes when there is nothing to do."""
    snakemake = str(Path(sys.executable).parent / "snakemake")
    command = [snakemake, "--cores", "8", "all", "--config", f"preset={PRESET}"]
    return spread([wall(command, ".") for _ in range(rounds)], "s")


def wall(command: list[str], folder: str) -> float:
    """How long a command takes, in seconds."""
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])}: {done.stderr[-500:]}")
    return time.perf_counter() - begun


def mini_training_share(rounds: int) -> Ratio:
    """Share of the cores' time, while `mini` ran, in which they took training steps."""
    jobs = finished_jobs(PRESET)
    cores = min(machine.cores(), 2)  # what the README promises its minutes for
    values = [training_seconds(PRESET) / (cores * union(jobs))]
    return spread(values, f"training on one core each ÷ {cores} cores × wall time")


def finished_jobs(preset: str) -> list[tuple[float, float]]:
    """Start and end of the jobs behind a preset's files, in seconds, as Snakemake wrote them down."""
    found = set()
    for path in Path(".snakemake/metadata").iterdir():
        output = base64.urlsafe_b64decode(path.name).decode()
        if f"/{preset}/" in output and Path(output).exists():
            entry = json.loads(path.read_text())
            found.add((entry["starttime"], entry["endtime"]))
    return sorted(found)


def union(spans: list[tuple[float, float]]) -> float:
    """Seconds in which at least one of the jobs ran: pauses between two runs of the pipeline do not count."""
    total, reached = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def training_seconds(preset: str) -> float:
    """Seconds that the steps of all finished trainings took, by the speed their curves show."""
    client = connect()
    experiment = client.get_experiment_by_name(experiment_name(preset))
    latest: dict[tuple[str, ...], str] = {}
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=5000):
        latest.setdefault(tuple(run.data.tags[name] for name in IDENTITY), run.info.run_id)
    total = 0.0
    for run_id in latest.values():
        batch = int(client.get_run(run_id).data.params["training.batch_size"])
        done = 0
        for point in sorted(client.get_metric_history(run_id, "images_per_second"), key=lambda point: point.step):
            total += (point.step - done) * batch / point.value
            done = point.step
    return total
