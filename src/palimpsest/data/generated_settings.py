"""Settings of data sets that can be generated."""

import typing
from typing import Annotated, Any

from pydantic import Field, model_validator

from palimpsest.data.settings import DatasetSettings


class GeneratedDatasetSettings(DatasetSettings):
    """Data set that palimpsest can generate, if its source is ``generated``."""

    side: Annotated[int, Field(ge=32)] = 96
    """Shorter side of generated pictures, in pixels."""
    generate: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Number of generated pictures by split."""

    def generator_options(self) -> dict[str, Any]:
        """Return arguments of the generator beside folder, numbers of pictures, size and seed; by default none."""
        return {}

    @model_validator(mode="after")
    def _has_numbers(self) -> typing.Self:
        if self.source == "generated" and not self.generate:
            raise ValueError("source 'generated' needs numbers of pictures; set generate to one number per split")
        return self
