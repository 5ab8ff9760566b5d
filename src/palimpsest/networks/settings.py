"""Settings that every network has."""

from typing import Annotated, Self

from pydantic import Field

from palimpsest.schema import SettingsGroup


class NetworkSettings(SettingsGroup):
    """Network of the sequence."""

    name: str
    """Name in the table of networks."""
    width: Annotated[int, Field(ge=1)] = 64
    """Channels of the first stage; the study's network has 64."""

    def fits(self, other: Self) -> bool:
        """Return whether a task stored on the other network can be built on by one on this network."""
        return self == other
