"""Base class and types of values of the groups of settings."""

import hashlib
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ClassName = Annotated[str, Field(pattern=r"^[\w .:/-]+$")]
"""Name that MLflow takes as part of a metric's name."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]


def as_path(value: object) -> object:
    """Return the text of a path in a user's settings, with a home folder in place of ``~`` or ``~user``.

    YAML and Snakemake read a folder's name of digits, as 2017, as a number. An integer does not show how it was
    written: 007 arrives as 7, 0123 as 83, 1_000 as 1000. Such a name is written in quotes or as ./007.

    Raises:
        ValueError: the name was read as another kind of number, whose text may be another one.
    """
    if isinstance(value, bool | float):
        raise ValueError(f"was read as {value!r} and has to be a path; write it as ./NAME")
    if isinstance(value, int):
        return str(value)
    return os.path.expanduser(value) if isinstance(value, str | Path) else value  # noqa: PTH111 (keeps text)


UserPath = Annotated[Path, BeforeValidator(as_path)]
"""A path in a user's settings."""


class SettingsGroup(BaseModel):
    """A group of settings: unknown names are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def digest(self) -> str:
        """SHA-256 of the values, in hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
