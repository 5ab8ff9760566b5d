"""Where every file of a preset lies, relative to the repository's root. Nothing else spells these paths."""

from dataclasses import dataclass
from pathlib import Path

from palimpsest.methods import BASE

TRACKING_DATABASE = Path("mlflow.db")
TRACKING_ARTIFACTS = Path("mlruns")


@dataclass(frozen=True)
class Layout:
    """The files of one preset."""

    preset: str

    @property
    def raw(self) -> Path:
        """Data sets as downloaded or generated, each with a manifest of checksums."""
        return Path("data") / self.preset / "raw"

    @property
    def results(self) -> Path:
        """Everything measured."""
        return Path("results") / self.preset

    @property
    def logs(self) -> Path:
        """One log file per job."""
        return Path("logs") / self.preset

    def manifest(self, dataset: str) -> Path:
        """The checksums of a data set's files."""
        return self.raw / dataset / "manifest.json"

    def perceptual_weights(self, network: str) -> Path:
        """The weights file of a perceptual network."""
        return self.raw / "weights" / f"{network}.pth"

    def prepared(self, task: str) -> Path:
        """The folder of a task's arrays."""
        return Path("data") / self.preset / "prepared" / task

    def stored(self, seed: int | str, method: str, task: str) -> Path:
        """A stored task."""
        return Path("models") / self.preset / f"seed-{seed}" / method / f"{task}.safetensors"

    def base(self, seed: int | str, base_task: str) -> Path:
        """The base network, stored once per seed and shared by every method that builds on it."""
        return self.stored(seed, BASE, base_task)

    def evaluation(self, seed: int | str, method: str) -> Path:
        """The folder of one method's measurements."""
        return self.results / "evaluation" / f"seed-{seed}" / method

    def origin(self, seed: int | str, method: str) -> Path:
        """What these measurements were made with."""
        return self.evaluation(seed, method) / "origin.json"
