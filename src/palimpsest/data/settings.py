"""Settings that data sets of every format have."""

import typing
from typing import Literal

from pydantic import model_validator

from palimpsest.data.targets import Target
from palimpsest.schema import SettingsGroup, UserPath


class DatasetSettings(SettingsGroup):
    """Source of pictures."""

    format: str
    """Format of the files, a key of `palimpsest.data.formats.FORMATS`."""
    source: Literal["generated", "directory", "download"]
    """Origin of the files: generated scenes, a folder of the user's, or a download."""
    root: UserPath | None = None
    """Folder of a `directory` source; None for other sources."""

    def unfit_for(self, target: Target | None) -> str | None:
        """Return the reason why a task with this type of targets cannot use the data set; None if it can.

        ``target`` is None for a task without targets.
        """
        return None

    @model_validator(mode="after")
    def _has_root(self) -> typing.Self:
        if self.source == "directory" and self.root is None:
            raise ValueError("source 'directory' needs a root; set root, or data_root for all data sets")
        if self.source != "directory" and self.root is not None:
            raise ValueError(
                f"source {self.source!r} has no root; remove root, or set source to directory to read this folder"
            )
        return self
