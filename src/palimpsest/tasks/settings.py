"""Settings that every kind of task has."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from palimpsest.groups import TrainingOverrides
from palimpsest.schema import Name, SettingsGroup


class TaskSettings(SettingsGroup):
    """Settings of every kind of task."""

    kind: str
    data: Name
    """Name of a data set."""
    splits: dict[Literal["train", "val"], str] = {"train": "train", "val": "val"}
    """From which split of the data set the task's own splits are taken; one of the same name where none is said."""
    images: dict[Literal["train", "val"], Annotated[int, Field(ge=1)]] = {}
    """At most so many pictures per split; all where nothing is said."""
    training: TrainingOverrides = TrainingOverrides()

    def files(self) -> list[Path]:
        """Return the files that the settings name, which the training reads."""
        return list(self.users_files().values())

    def users_files(self) -> dict[str, Path]:
        """Return by setting the files that the user has to provide."""
        return {}

    def with_weights(self, path_of: Callable[[str], Path]) -> typing.Self:
        """Return the settings with the fetched file of each network of weights that they need and name no file of.

        ``path_of`` gives the path by the network's name.
        """
        return self

    def preparation(self) -> dict[str, Any]:
        """Return the fields of `palimpsest.jobs.PreparationJob` that the kind's own settings decide."""
        return {}

    @property
    def gives_picture(self) -> bool:
        """True if the prediction is a picture, and not a score for each class."""
        return True

    @property
    def form(self) -> str:
        """Form of the network's output; two tasks can be blended where it is the same."""
        return "rgb" if self.gives_picture else "scores"

    @field_validator("splits")
    @classmethod
    def _has_both(cls, splits: dict[str, str]) -> dict[str, str]:
        return {"train": "train", "val": "val"} | splits

    @model_validator(mode="after")
    def _leaves_pictures_to_val(self) -> typing.Self:
        if self.splits["train"] == self.splits["val"] and "train" not in self.images:
            raise ValueError(
                f"splits: train and val are both {self.splits['val']!r}, and train takes all of its pictures; "
                "name another split, or set images.train"
            )
        return self
