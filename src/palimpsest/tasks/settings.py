"""Settings common to all kinds of tasks."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from palimpsest.groups import TrainingOverrides
from palimpsest.schema import Name, SettingsGroup


class TaskSettings(SettingsGroup):
    """Settings common to all kinds of tasks."""

    kind: str
    """Kind of the task, a key of `palimpsest.tasks.KINDS`."""
    data: Name
    """Name of the data set that the task learns from, a key of `datasets`."""
    splits: dict[Literal["train", "val"], str] = {"train": "train", "val": "val"}
    """Name of the data set's split for each split of the task; by default the same name."""
    additional_pictures: dict[Name, Annotated[list[str], Field(min_length=1)]] = {}
    """Splits whose pictures are added to the training pictures, by the name of their data set, as
    `{coco: [train], voc: [train]}`; only for tasks without targets, such as colorization and style. `images.train`
    limits all training pictures together."""
    images: dict[Literal["train", "val"], Annotated[int, Field(ge=1)]] = {}
    """Largest number of pictures by split of the task; by default all pictures."""
    training: TrainingOverrides = TrainingOverrides()
    """Settings of the training that differ for this task."""

    def files(self) -> list[Path]:
        """Return the files in the settings that a training reads."""
        return list(self.users_files().values())

    def users_files(self) -> dict[str, Path]:
        """Return the files that the user has to provide, by setting."""
        return {}

    def with_weights(self, path_of: Callable[[str], Path]) -> typing.Self:
        """Return the settings with the paths of downloaded weights in place of missing ones.

        ``path_of`` returns the path of a perceptual network's weights by the network's name.
        """
        return self

    def preparation(self) -> dict[str, Any]:
        """Return the fields of `palimpsest.jobs.PreparationJob` that depend on the kind."""
        return {}

    @property
    def datasets(self) -> list[str]:
        """Names of all data sets that the task learns from, each once."""
        return list(dict.fromkeys([self.data, *self.additional_pictures]))

    @property
    def gives_picture(self) -> bool:
        """True if the prediction is a picture."""
        return True

    @property
    def output_space(self) -> str:
        """Colour space of the network's output, or `scores`; two tasks can be blended if theirs are equal."""
        return "rgb" if self.gives_picture else "scores"

    @field_validator("splits")
    @classmethod
    def _fill_defaults(cls, splits: dict[str, str]) -> dict[str, str]:
        return {"train": "train", "val": "val"} | splits

    @model_validator(mode="after")
    def _leaves_pictures_to_val(self) -> typing.Self:
        if self.splits["train"] == self.splits["val"] and "train" not in self.images:
            raise ValueError(
                f"splits: train and val are both {self.splits['val']!r}, and train takes all of its pictures; "
                "choose another split, or set images.train"
            )
        return self
