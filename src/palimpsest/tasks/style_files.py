"""Files of a style that a user names on the command line: the painting, and weights of the perceptual network."""

from dataclasses import dataclass
from pathlib import Path

from palimpsest.errors import DataError, SettingsError
from palimpsest.networks.perceptual import network_of
from palimpsest.tasks.settings import TaskSettings
from palimpsest.tasks.style import PerceptualLoss
from palimpsest.tasks.style_settings import StyleSettings

PAINTING, WEIGHTS = "--painting", "--weights"
"""Options that name the files."""


@dataclass(frozen=True)
class StyleFiles:
    """Files in place of those in the settings of a task; None to leave a setting as it is."""

    painting: Path | None = None
    weights: Path | None = None

    @property
    def of_new(self) -> dict[str, Path | str]:
        """Settings of a new style: the files, and the perceptual network that the weights belong to.

        Raises:
            DataError: the weights are missing, unreadable, or of no perceptual network.
        """
        values: dict[str, Path | str] = {}
        if self.painting is not None:
            values["picture"] = self.painting
        if self.weights is not None:
            values |= {"weights": self.weights, "perceptual": network_of(self.weights)}
        return values

    def of_learned(self, name: str, settings: TaskSettings) -> TaskSettings:
        """Return the settings of the task ``name`` with these files; the perceptual network stays that of its loss.

        Raises:
            SettingsError: the task uses no such file.
        """
        given = {"picture": (PAINTING, self.painting), "weights": (WEIGHTS, self.weights)}
        changes = {key: path for key, (_, path) in given.items() if path is not None}
        if not isinstance(settings, StyleSettings):
            for key in changes:
                raise SettingsError(
                    f"{given[key][0]}: {name} is of the kind {settings.kind}, not style; leave it out"
                )
            return settings
        if self.weights is not None and settings.perceptual == "random":
            raise SettingsError(f"{WEIGHTS}: the loss of {name} has random weights and reads no file; leave it out")
        return settings.model_copy(update=changes)


NO_FILES = StyleFiles()
"""No file: all settings stay."""


def check_files(settings: TaskSettings) -> None:
    """Check the files of a style; settings of other kinds pass.

    Raises:
        DataError: a file is missing, unreadable or of another type; the message names the option.
    """
    if isinstance(settings, StyleSettings):
        if settings.weights is None and settings.perceptual != "random":
            raise DataError(
                f"{WEIGHTS}: is missing, and the loss compares features of {settings.perceptual}; name the file of "
                "its weights"
            )
        PerceptualLoss(settings, WEIGHTS, PAINTING)
