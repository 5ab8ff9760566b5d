"""Settings of data sets in the formats `coco` and `voc`."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.data.settings import DatasetSettings


class PublicDatasetSettings(DatasetSettings):
    """Data set in the layout of a public one: the public one, generated scenes, or a folder of the user's."""

    format: Literal["coco", "voc"]
    side: Annotated[int, Field(ge=32)] = 96
    """Shorter side of generated pictures, in pixels."""
    generate: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Number of generated pictures by split, with the split names of the public data set."""
    archives: list[str] = []
    """Names of the files that a `download` source fetches; `palimpsest.data.download` has their addresses and
    checksums."""

    @property
    def is_small_coco(self) -> bool:
        """True for COCO without its training pictures, whose val2017 is split by picture id."""
        return self.format == "coco" and "train2017.zip" not in self.archives

    @model_validator(mode="after")
    def _has_files(self) -> typing.Self:
        if self.source == "download" and not self.archives:
            raise ValueError("source 'download' needs the names of archives; set archives")
        if self.source == "generated" and not self.generate:
            raise ValueError("source 'generated' needs numbers of pictures; set generate to one number per split")
        return self
