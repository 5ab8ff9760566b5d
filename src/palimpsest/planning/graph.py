"""Jobs of a run, as the Snakefile in the working directory defines them.

A process of its own runs Snakemake without executing a job (`python -m palimpsest.planning.graph CORES JSON FILE`),
because Snakemake and the Snakefile change the log and the environment of their process.
"""

import contextlib
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from palimpsest.errors import PalimpsestError, SettingsError


@dataclass(frozen=True)
class Job:
    """Job of one rule."""

    rule: str
    wildcards: Mapping[str, str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    threads: int
    """Cores that the job reserves, of those that Snakemake may use."""
    gpus: int
    priority: int
    pending: bool
    """True if the run makes the job's output; False for an output that is up to date."""

    @property
    def trains(self) -> bool:
        """True for a training."""
        return self.rule.startswith("train")


@dataclass(frozen=True)
class Graph:
    """Jobs of a run, and the seconds in which Snakemake found them."""

    jobs: Sequence[Job]
    seconds: float


def graph_of(config: Mapping[str, Any], cores: int) -> Graph:
    """Return the jobs of `snakemake all` with overrides of `params.yaml`, also those whose output is up to date.

    Raises:
        SettingsError: Snakemake is not installed, or this folder has no Snakefile.
        PalimpsestError: Snakemake fails; the message is that of the Snakefile.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise SettingsError("Snakemake is missing; run: pip install 'palimpsest[pipeline]'")
    if not Path("Snakefile").is_file():
        raise SettingsError("Snakefile: is missing; run palimpsest in the folder with params.yaml and Snakefile")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.json"
        command = [sys.executable, "-m", __name__, str(cores), json.dumps(config), str(file)]
        started = time.perf_counter()
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )
        seconds = time.perf_counter() - started
        if process.returncode or not file.exists():
            raise PalimpsestError(reason_of(process.stdout + process.stderr))
        return Graph([Job(**job) for job in json.loads(file.read_text("utf-8"))], seconds)


def reason_of(output: str) -> str:
    """Return the message of a failed process: its line `error: …`, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    messages = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    last = lines[-1] if lines else "no message"
    return (
        messages[0] if messages else f"Snakefile: Snakemake cannot list its jobs ({last}); run `snakemake -n all`"
    )


def write_jobs(cores: int, config: Mapping[str, Any], file: Path) -> None:
    """Write the jobs of `all` as JSON to a file."""
    from snakemake.api import SnakemakeApi  # noqa: PLC0415 (takes a second)
    from snakemake.settings.types import (  # noqa: PLC0415
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
    )

    with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=cores),
            config_settings=ConfigSettings(config=config),
            snakefile=Path("Snakefile"),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            workflow.dag(DAGSettings(targets={"all"}, force_incomplete=True)).summary()  # builds the graph
        dag = workflow._workflow.dag  # the public interface only prints jobs
        jobs = [
            Job(
                rule=job.rule.name,
                wildcards=dict(job.wildcards_dict),
                inputs=[str(path) for path in job.input],
                outputs=[str(path) for path in job.output],
                threads=int(job.threads),
                gpus=int(job.resources.get("gpu", 0)),
                priority=int(job.rule.priority),  # that of a finished job raises an error
                pending=dag.needrun(job),
            )
            for job in dag.jobs
            if job.output  # `all` only names its target
        ]
    jobs.sort(key=lambda job: list(job.outputs))
    file.write_text(json.dumps([asdict(job) for job in jobs]), encoding="utf-8")


if __name__ == "__main__":
    write_jobs(int(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))
