"""Settings of a data set."""

import typing
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from palimpsest.schema import SettingsGroup, UserPath


class DatasetSettings(SettingsGroup):
    """Where pictures come from."""

    format: Literal["coco", "voc", "paired"]
    source: Literal["generated", "directory", "download"]
    root: UserPath | None = None
    """The folder of a `directory` source."""
    side: Annotated[int, Field(ge=32)] = 96
    """Shorter side of generated pictures, in pixels."""
    generate: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Generated pictures per split, by the data set's own split names."""
    archives: list[str] = []
    """The files of a `download` source; `palimpsest.data.download` knows their addresses and checksums."""
    input_side: Literal["left", "right"] = "left"
    """Where files hold both halves side by side: which half is the input."""
    layout: Literal["auto", "side-by-side"] = "auto"
    """Layout of pairs: `auto` finds inputs and targets by the names of folders (`palimpsest.data.pair_folders`)
    and checks that files outside such folders hold two pictures; `side-by-side` takes every file for such a one."""
    input_range: tuple[float, float] | None = None
    """Values that become black and white in inputs that are grey pictures of 16 bits and more, as [0, 10000].
    Values outside are clipped and counted in the log. Default: the full range."""
    target_range: tuple[float, float] | None = None
    """The same for targets, such as depth in millimetres."""

    @field_validator("input_range", "target_range")
    @classmethod
    def _rises(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"the first value has to be below the second, found {[*limits]}")
        return limits

    @model_validator(mode="after")
    def _has_root(self) -> typing.Self:
        if self.source == "directory" and self.root is None:
            raise ValueError("source 'directory' needs a root: give root, or data_root for all data sets")
        if self.source != "directory" and self.root is not None:
            raise ValueError(f"root is the folder of source 'directory'; source {self.source!r} has its own")
        if self.source == "download" and not self.archives:
            raise ValueError("source 'download' needs the names of archives to fetch")
        if self.source == "generated" and (self.format == "paired" or not self.generate):
            raise ValueError("source 'generated' needs format coco or voc and counts under generate")
        for name in ("layout", "input_range", "target_range"):
            if self.format != "paired" and name in self.model_fields_set:
                raise ValueError(f"{name} is a setting of format paired; leave it out for {self.format}")
        return self
