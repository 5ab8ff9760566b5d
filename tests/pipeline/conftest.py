"""Fixtures: a small study run by the real Snakefile in a copy of the project."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from palimpsest.data.arrays import Prepared, write_prepared
from tests.conftest import Study as SmallStudy

TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
CARRIED = (
    "Snakefile",
    "dvc.yaml",
    "params.yaml",
    "pipeline",
    "profiles",
    "src",
    "styles",
    ".gitignore",
    ".dvcignore",
)

SMALL: dict[str, Any] = {
    "network": {"width": 2},
    "networks": {"resblock": {"width": 2}},
    "pictures": {"size": 32, "crop": 32},
    "training": {"steps": 4, "batch_size": 4, "steps_per_epoch": 2, "learning_rate": 0.01},
    "base": {"steps": 4},
    "autoencoder": {"steps": 4},
    "tasks": {style: {"training": {"steps": 4}} for style in ("style-gogh", "style-munch")},
    "samples": 2,
    "datasets": {
        "coco": {"side": 40, "generate": {"train2017": 12, "val2017": 5, "unlabeled2017": 8}},
        "voc": {"side": 40, "generate": {"train": 12, "val": 11}},
    },
}


@dataclass(frozen=True)
class Job:
    """Job of the graph, as printed by `graph.py`."""

    rule: str
    wildcards: Mapping[str, str]
    input: tuple[str, ...]
    code: tuple[str, ...]
    """Source files whose statements determine the digest among the parameters."""
    output: tuple[str, ...]
    params: Mapping[str, str]
    log: str
    """Log file, unique per job."""
    resources: Mapping[str, int]
    """Resources of the first attempt, such as `mem_mb`, and `_cores`."""


OF_TRAININGS = "run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'rule' AND value = 'train')"
"""Condition for the runs of trainings in MLflow's database; the runs above them have another rule."""


@dataclass(frozen=True)
class Study:
    """Copy of the project in which commands run like those of a user."""

    folder: Path

    @property
    def imports(self) -> Path:
        """Folder with the modules that each job imported, in files with the names of the logs."""
        return self.folder.with_name("imports")

    def environment(self) -> dict[str, str]:
        """Return the environment in which commands of the tests' environment run the code of the folder."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.folder / "src"), str(TESTS / "recorder")]),
            "PALIMPSEST_RECORD": str(self.imports),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, for example `snakemake`, in the folder."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run Snakemake and return its output."""
        done = self.run("snakemake", "--cores", "2", *arguments, check=check)
        return done.stdout + done.stderr

    def planned(self, *arguments: str) -> set[str]:
        """Return the outputs that Snakemake would make: stored tasks, tables and pages."""
        output = self.snakemake("-n", "all", *arguments)
        lines = [line.strip() for line in output.splitlines() if line.strip().startswith("output:")]
        return {path for line in lines for path in line.removeprefix("output: ").split(", ")}

    def graphs(self, *targets: tuple[str, Mapping[str, Any]]) -> list[list[Job]]:
        """Return all jobs of each target, finished or not, under settings that override the file's.

        Rules that only name targets are not jobs.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "graphs.json"
            self.run("python", str(TESTS / "graph.py"), json.dumps(targets), str(file))
            graphs = json.loads(file.read_text())
        return [
            [Job(**{k: tuple(v) if isinstance(v, list) else v for k, v in job.items()}) for job in jobs]
            for jobs in graphs
        ]

    def tracked(self) -> tuple[Any, list[Any]]:
        """Return a client of the folder's MLflow database, and the runs of all trainings of the preset."""
        import mlflow  # noqa: PLC0415 - takes seconds

        # MLflow keeps a database open by its name, even after it was deleted and recreated.
        copy = self.folder.with_name(f"mlflow-{time.monotonic_ns()}.db")
        shutil.copy(self.folder / "mlflow.db", copy)
        client = mlflow.MlflowClient(f"sqlite:///{copy}")
        experiment = client.get_experiment_by_name("palimpsest-mini")
        return client, list(client.search_runs([experiment.experiment_id], "tags.rule = 'train'"))

    def commit(self, message: str) -> None:
        """Commit all files that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def params(self) -> Any:
        """Return the settings of the folder."""
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def write_params(self, params: Any) -> None:
        """Write the settings of the folder."""
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def merged(below: Any, above: Any) -> Any:
    """Merge two nested mappings; the second overrides the first."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}


def copied(folder: Path) -> Study:
    """Copy the project's files, with the settings of the small study, to a new git repository."""
    folder.mkdir(parents=True)
    for name in CARRIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, folder / name)
    study = Study(folder)
    params = study.params()
    params["presets"]["mini"] = merged(params["presets"]["mini"], SMALL)
    study.write_params(params)
    study.run("git", "init", "--quiet")
    study.run("git", "config", "user.email", "tester@example.org")
    study.run("git", "config", "user.name", "Tester")
    study.commit("code")
    return study


def fewer(study: Study, steps: int = 12) -> None:
    """Reduce the study to two methods and two tasks, for tests with many runs."""
    params = study.params()
    params["defaults"]["methods"] = ["fine-tune", "piggyback"]
    params["defaults"]["sequence"] = ["coco-seg", "colorize"]
    params["presets"]["mini"]["training"] |= {"steps": steps, "steps_per_epoch": 4}
    study.write_params(params)


CLOCKED = ("costs.csv", "forgetting.csv")
"""Tables with time and memory of trainings, which differ between runs."""


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every reproducible file by path."""
    kinds = (
        "data/mini/prepared/**/*.npy",
        "models/**/*.safetensors",
        "models/**/*.json",
        "results/**/*.csv",
        "results/**/*.json",
    )
    paths = sorted(path for kind in kinds for path in folder.glob(kind) if path.name not in CLOCKED)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def write_arrays(folder: Path, arrays: Prepared) -> None:
    """Write arrays as the pipeline prepares them."""
    with write_prepared(folder, arrays.picture.shape[1], arrays.target_type) as rows:
        for row, (source, split) in enumerate(zip(arrays.sources, arrays.splits, strict=True)):
            rows.add(split, source, arrays.picture[row], None if arrays.target is None else arrays.target[row])
        used = {split: {"used": arrays.splits.count(split)} for split in dict.fromkeys(arrays.splits)}
        rows.info["splits"] = used


@pytest.fixture
def prepared_study(new_study: Callable[..., SmallStudy], monkeypatch: pytest.MonkeyPatch) -> SmallStudy:
    """Return a study whose prepared arrays are at the pipeline's paths."""
    study = new_study()
    for task, arrays in study.prepared.items():
        write_arrays(study.layout.prepared(task), arrays)
    monkeypatch.setattr("pipeline.train.training_key", lambda *arguments: "key")  # the code is not in this folder
    return study


@pytest.fixture(scope="session")
def unmade(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return the study without any results; read-only."""
    return copied(tmp_path_factory.mktemp("unmade") / "project")
