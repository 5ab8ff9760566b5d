"""Settings common to all networks."""

from typing import Annotated, Self

from pydantic import Field

from palimpsest.schema import SettingsGroup


class NetworkSettings(SettingsGroup):
    """Network of the sequence."""

    name: str
    """Name in the table of networks."""
    width: Annotated[int, Field(ge=1)] = 64
    """Channels of the first stage; the study's network has 64."""

    def fits(self, required: Self) -> bool:
        """Return whether tensors of this network serve a stored task that needs the network ``required``."""
        return self == required
