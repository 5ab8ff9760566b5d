"""Paths of all files of a preset, relative to the repository's root. No other module constructs these paths."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from palimpsest.methods import BASES

TRACKING_DATABASE = Path("mlflow.db")
TRACKING_ARTIFACTS = Path("mlruns")
PREDICTIONS = ".predictions.json"
"""Suffix of a stored task's prediction record."""
SNAKEMAKE = Path(".snakemake")
"""Folder of Snakemake's own records: locks, and the settings of each output."""
Shared = Literal["none", "base", "all"]
"""Stored tasks of a preset that a variant uses: none, the networks that methods start from (`BASES`), or all."""
CURRENT = "current"
"""Name of the variant that changes no settings: the preset's own stored tasks, measured on another split."""
SWEEP = ".sweep"
"""Suffix of the folder of a preset's variants; names of presets have no dot."""


def making_command(path: Path, target: str = "") -> str:
    """Return the Snakemake command that makes an output, with the preset that its path names.

    ``target`` replaces the path as the target, such as ``all``.
    """
    root, *below = path.parts
    preset = below[0].removesuffix(SWEEP) if below and root in ("data", "models", "results", "logs") else ""
    config = ["--config", f"preset={preset}"] if preset else []
    return shlex.join(["snakemake", "--cores", "all", target or path.as_posix(), *config])


@dataclass(frozen=True)
class Layout:
    """Files of one preset, or of one variant of it.

    A variant has its own measurements and uses the preset's data. It uses the preset's base network, unless it
    changes the settings of that network and trains its own. The variant `CURRENT` uses all stored tasks.
    """

    preset: str
    variant: str = ""
    """Name of the variant; empty for the preset itself."""
    shares: Shared = "base"
    """Stored tasks of the preset that the variant uses."""

    @property
    def scope(self) -> str:
        """Name of the folder below `models/`, `results/` and `logs/`, and value of MLflow's tag `preset`."""
        return f"{self.preset}{SWEEP}/{self.variant}" if self.variant else self.preset

    @property
    def raw(self) -> Path:
        """Folder of the data sets as downloaded or generated, each with a manifest of checksums."""
        return Path("data") / self.preset / "raw"

    @property
    def results(self) -> Path:
        """Folder of all measurements."""
        return Path("results") / self.scope

    @property
    def bundle(self) -> Path:
        """File with the network and all tasks of one method."""
        return self.results / "bundle.safetensors"

    @property
    def logs(self) -> Path:
        """Folder of the logs, one per job."""
        return Path("logs") / self.scope

    def manifest(self, dataset: str) -> Path:
        """Return the path of a data set's manifest, the JSON file with the checksums of its files."""
        return self.raw / dataset / "manifest.json"

    @property
    def weights(self) -> Path:
        """Folder of the weights that the pipeline downloads or copies."""
        return self.raw / "weights"

    def perceptual_weights(self, network: str) -> Path:
        """Return the path of a perceptual network's weights."""
        return self.weights / f"{network}.pth"

    def encoder_weights(self, encoder: str) -> Path:
        """Return the path of the downloaded weights of an encoder."""
        return self.weights / f"{encoder}.safetensors"

    def prepared(self, task: str) -> Path:
        """Return the folder of a task's prepared arrays."""
        return Path("data") / self.preset / "prepared" / task

    def scope_of(self, method: str) -> str:
        """Return the `scope` of a method's trainings, which is the preset's for trainings that a variant shares."""
        shared = self.shares == "all" or (self.shares == "base" and method in BASES)
        return self.preset if shared else self.scope

    def stored(self, seed: int | str, method: str, task: str) -> Path:
        """Return the path of the file that a training of this method on this task writes."""
        return Path("models") / self.scope_of(method) / f"seed-{seed}" / method / f"{task}.safetensors"

    def prediction_record(self, seed: int | str, method: str, task: str) -> Path:
        """Return the path of a task's `PredictionRecord`, beside the stored task."""
        return self.stored(seed, method, task).with_suffix(PREDICTIONS)

    def cost(self, seed: int | str, method: str, task: str) -> Path:
        """Return the path of the record of a training's time and memory, beside its log."""
        return Path("logs") / self.scope_of(method) / f"train-{seed}-{method}-{task}.json"

    def evaluation(self, seed: int | str, method: str) -> Path:
        """Return the folder of one method's measurements."""
        return self.results / "evaluation" / f"seed-{seed}" / method

    def sweep(self, method: str) -> Path:
        """Return the path of the table of a method's variants and their metrics."""
        return self.results / "sweep" / f"{method}.csv"

    def varied(self, method: str) -> Path:
        """Return the path of the table of the settings that a method's variants change."""
        return self.results / "sweep" / f"{method}-settings.csv"

    def ablation(self, name: str) -> Path:
        """Return the path of the table of an ablation's methods and their metrics."""
        return self.results / "ablation" / f"{name}.csv"

    def ablation_settings(self, name: str) -> Path:
        """Return the path of the table of the settings that an ablation changes."""
        return self.results / "ablation" / f"{name}-settings.csv"

    @property
    def explained(self) -> Path:
        """Folder of the experiments of `palimpsest.explaining`, with their page."""
        return self.results / "explain"

    def experiment(self, seed: int | str, name: str, task: str) -> Path:
        """Return the path of the table of one experiment on one task; its origin is beside it, with `.json`."""
        return self.explained / f"seed-{seed}" / f"{name}-{task}.csv"

    def composition(self, name: str) -> Path:
        """Return the folder of a composition of two tasks."""
        return self.results / "compositions" / name

    def outputs(self) -> list[Path]:
        """Return the files and folders with all outputs of the preset's rules; of raw data only the manifests."""
        folders = [self.prepared(""), self.weights, Path("models") / self.scope, self.results]
        return [*sorted(self.raw.glob(self.manifest("*").relative_to(self.raw).as_posix())), *folders]

    def origin(self, seed: int | str, method: str) -> Path:
        """Return the path of the record of commit, data and settings behind one method's measurements."""
        return self.evaluation(seed, method) / "origin.json"
