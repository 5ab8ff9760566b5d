"""Base class of the groups of settings, and types of their values."""

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
"""Number above 0."""
Share = Annotated[float, Field(ge=0, le=1)]
"""Fraction from 0 to 1."""
PositiveShare = Annotated[float, Field(gt=0, le=1)]
"""Fraction above 0, at most 1."""
ClassName = Annotated[str, Field(pattern=r"^[\w .:/-]+$")]
"""Name of a class that MLflow accepts as part of a metric's name."""
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9-]*")
"""Form of a name that can be part of a path: letters, digits and hyphens."""
NAME_ADVICE = "use letters, digits and hyphens, and begin with no hyphen"
"""Advice of a message about a name of another form."""
Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
"""Name of this form."""


def as_path(value: object) -> object:
    """Return a path in a user's settings as text, with the home folder in place of ``~`` or ``~user``.

    A value of another type, such as None or a list, is returned unchanged, for pydantic to refuse.

    YAML and Snakemake parse a folder name of digits, such as 2017, as an integer and lose its spelling: 007 becomes
    7, 0123 becomes 83, 1_000 becomes 1000. Such a name has to be quoted or written as ./007.

    Raises:
        ValueError: the name was parsed as a bool or a float, whose text may differ from the name.
    """
    if isinstance(value, bool | float):
        raise ValueError(f"has to be a path, found {value!r}; write it as ./NAME")
    if isinstance(value, int):
        return str(value)
    return os.path.expanduser(value) if isinstance(value, str | Path) else value  # noqa: PTH111 (keeps text)


UserPath = Annotated[Path, BeforeValidator(as_path)]
"""Path in a user's settings."""


class SettingsGroup(BaseModel):
    """Immutable group of settings that refuses unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def digest(self) -> str:
        """Return the SHA-256 of the group's values, in hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
