"""Where every file of a preset lies, relative to the repository's root. Nothing else spells these paths."""

from dataclasses import dataclass
from pathlib import Path

from palimpsest.methods import BASES

TRACKING_DATABASE = Path("mlflow.db")
TRACKING_ARTIFACTS = Path("mlruns")
PREDICTIONS = ".predictions.json"
"""Ends the name of a stored task's prediction record."""
SNAKEMAKE = Path(".snakemake")
"""Snakemake's own records of the study: locks, and with which settings each output was made."""
SWEEP = ".sweep"
"""Ends the folder of a preset's variants; no preset's name can hold a dot."""


@dataclass(frozen=True)
class Layout:
    """The files of one preset, or of one variant of it.

    A variant, one setting of a sweep, has trainings and measurements of its own beside the preset's, and shares
    its data; and its base network, unless what the variant changes makes another.
    """

    preset: str
    variant: str = ""
    own_base: bool = False

    @property
    def scope(self) -> str:
        """What the trained and the measured lie under, and MLflow's tag `preset` says."""
        return f"{self.preset}{SWEEP}/{self.variant}" if self.variant else self.preset

    @property
    def raw(self) -> Path:
        """Data sets as downloaded or generated, each with a manifest of checksums."""
        return Path("data") / self.preset / "raw"

    @property
    def results(self) -> Path:
        """Everything measured."""
        return Path("results") / self.scope

    @property
    def logs(self) -> Path:
        """One log file per job."""
        return Path("logs") / self.scope

    def manifest(self, dataset: str) -> Path:
        """The checksums of a data set's files."""
        return self.raw / dataset / "manifest.json"

    def perceptual_weights(self, network: str) -> Path:
        """The weights file of a perceptual network."""
        return self.raw / "weights" / f"{network}.pth"

    def prepared(self, task: str) -> Path:
        """The folder of a task's arrays."""
        return Path("data") / self.preset / "prepared" / task

    def scope_of(self, method: str) -> str:
        """The scope in which a method's trainings lie: the preset's, for a base network that is no other."""
        return self.preset if method in BASES and not self.own_base else self.scope

    def stored(self, seed: int | str, method: str, task: str) -> Path:
        """A stored task."""
        return Path("models") / self.scope_of(method) / f"seed-{seed}" / method / f"{task}.safetensors"

    def prediction_record(self, seed: int | str, method: str, task: str) -> Path:
        """The predictions of a task when it had just been learned; lies beside the stored task."""
        return self.stored(seed, method, task).with_suffix(PREDICTIONS)

    def cost(self, seed: int | str, method: str, task: str) -> Path:
        """What the training of a task has taken of time and memory; lies beside its log."""
        return Path("logs") / self.scope_of(method) / f"train-{seed}-{method}-{task}.json"

    def evaluation(self, seed: int | str, method: str) -> Path:
        """The folder of one method's measurements."""
        return self.results / "evaluation" / f"seed-{seed}" / method

    def sweep(self, method: str) -> Path:
        """What was measured of the variants of a method."""
        return self.results / "sweep" / f"{method}.csv"

    def varied(self, method: str) -> Path:
        """What these variants change."""
        return self.results / "sweep" / f"{method}-settings.csv"

    def composition(self, name: str) -> Path:
        """The folder of two tasks composed."""
        return self.results / "compositions" / name

    def outputs(self) -> list[Path]:
        """The files and folders that hold the outputs of the preset's rules, without the pictures of data sets."""
        folders = [self.prepared(""), self.perceptual_weights("").parent, Path("models") / self.scope, self.results]
        return [*sorted(self.raw.glob(self.manifest("*").relative_to(self.raw).as_posix())), *folders]

    def origin(self, seed: int | str, method: str) -> Path:
        """What these measurements were made with."""
        return self.evaluation(seed, method) / "origin.json"
