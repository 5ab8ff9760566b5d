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
        """Return why a task with targets of this form cannot learn from the data set; None where it can."""
        return None

    @model_validator(mode="after")
    def _has_root(self) -> typing.Self:
        if self.source == "directory" and self.root is None:
            raise ValueError("source 'directory' needs a root: give root, or data_root for all data sets")
        if self.source != "directory" and self.root is not None:
            raise ValueError(f"root is the folder of source 'directory'; source {self.source!r} has its own")
        return self
