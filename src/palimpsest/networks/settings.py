"""Settings common to all networks."""

from typing import Annotated, Self

from pydantic import Field

from palimpsest.schema import SettingsGroup


class NetworkSettings(SettingsGroup):
    """Architecture and width of a network."""

    name: str
    """Name of the architecture, a key of `palimpsest.networks.NETWORKS`."""
    width: Annotated[int, Field(ge=1)] = 64
    """Number of channels of the first stage; the study's networks have 64."""

    def fits(self, required: Self) -> bool:
        """Return whether tensors of this network serve a stored task that needs the network ``required``."""
        return self == required
