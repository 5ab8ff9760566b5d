"""Settings of data sets in the formats `coco` and `voc`."""

import typing
from typing import Literal

from pydantic import model_validator

from palimpsest.data.generated_settings import GeneratedDatasetSettings


class PublicDatasetSettings(GeneratedDatasetSettings):
    """Data set in the layout of a public one: the public one, generated scenes, or a folder of the user's.

    Keys of `generate` are the split names of the public data set.
    """

    format: Literal["coco", "voc"]
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
        return self
