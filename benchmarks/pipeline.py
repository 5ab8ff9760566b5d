"""Overhead of the pipeline: start of a job, a run without work, and share of time outside training."""

import base64
import json
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path

from benchmarks.ratios import Ratio, spread
from palimpsest import machine
from palimpsest.tracking.service import start_service
from palimpsest.tracking.store import IDENTITY, connect, experiment_name

PRESET = "mini"
SETTINGS = {"preset": PRESET, "data_root": None}
"""Settings that override params.yaml, which may select another preset."""
FIRST_STEP_CODE = """
import sys
import palimpsest.training.loop as loop
def stop(*arguments):
    sys.exit()
loop.training_loader = stop
import runpy
runpy.run_module("pipeline.train", run_name="__main__", alter_sys=True)
"""
"""Program that runs a training job up to its first batch."""
BATCH_SIZE = "training.batch_size"
"""Parameter of the MLflow run of a training."""


def job_start(rounds: int) -> Ratio:
    """Measure the seconds from the start of a training job's process to its first batch, ``rounds`` times.

    As in the pipeline, a service records the runs.
    """
    root = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        for path in ("params.yaml", "styles", "data", "models", "src", "pipeline"):
            (Path(name) / path).symlink_to(root / path)
        with chdir(name):
            start_service()
        options = ["--seed", "0", "--method", "piggyback", "--task", "voc-seg"]
        job = [sys.executable, "-c", FIRST_STEP_CODE, *options, "--config", json.dumps(SETTINGS)]
        return spread([wall(job, name) for _ in range(rounds)], "s")


def noop_all(rounds: int) -> Ratio:
    """Measure the seconds of `snakemake all` when all results are up to date, ``rounds`` times."""
    snakemake = str(Path(sys.executable).parent / "snakemake")
    command = [snakemake, "--cores", "8", "all", "--config", f"preset={PRESET}"]
    return spread([wall(command, ".") for _ in range(rounds)], "s")


def wall(command: list[str], folder: str) -> float:
    """Run a command in a folder and return its seconds.

    Raises:
        RuntimeError: the command failed; the message contains the end of its output.
    """
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])}: {done.stderr[-500:]}")
    return time.perf_counter() - start


def mini_training_share(rounds: int) -> Ratio:
    """Return the share of core time that the last run of `mini` spent on training steps; ``rounds`` is ignored."""
    jobs = finished_jobs(PRESET)
    cores = min(machine.cores(), 2)  # the README's run times are for two cores
    values = [training_seconds(PRESET) / (cores * union(jobs))]
    return spread(values, f"core time of training ÷ ({cores} × wall time)")


def finished_jobs(preset: str) -> list[tuple[float, float]]:
    """Return start and end, in seconds, of each job that made an existing file of a preset, sorted by start.

    They are read from Snakemake's records.
    """
    spans = set()
    for path in Path(".snakemake/metadata").iterdir():
        output = base64.urlsafe_b64decode(path.name).decode()
        if f"/{preset}/" in output and Path(output).exists():
            entry = json.loads(path.read_text())
            spans.add((entry["starttime"], entry["endtime"]))
    return sorted(spans)


def union(spans: list[tuple[float, float]]) -> float:
    """Return the total length of spans (start, end) sorted by start; overlapping time counts once."""
    total, reached = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def training_seconds(preset: str) -> float:
    """Return the seconds of all steps of a preset's finished trainings, from the images per second in MLflow."""
    client = connect()
    experiment = client.get_experiment_by_name(experiment_name(preset))
    latest: dict[tuple[str, ...], tuple[str, int]] = {}
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=5000):
        if BATCH_SIZE in run.data.params:  # of trainings, not of methods and reports
            identity = tuple(run.data.tags[name] for name in IDENTITY)
            latest.setdefault(identity, (run.info.run_id, int(run.data.params[BATCH_SIZE])))
    total = 0.0
    for run_id, batch in latest.values():
        done = 0
        for point in sorted(client.get_metric_history(run_id, "images_per_second"), key=lambda point: point.step):
            total += (point.step - done) * batch / point.value
            done = point.step
    return total
