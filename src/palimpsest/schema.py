"""What groups of settings and their values have in common."""

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ClassName = Annotated[str, Field(pattern=r"^[\w .:/-]+$")]
"""What MLflow takes as part of a metric's name."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]


class SettingsGroup(BaseModel):
    """A group of settings: unknown names are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def digest(self) -> str:
        """SHA-256 of the values, in hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
