"""Settings common to all networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from palimpsest.schema import SettingsGroup


class NetworkSettings(SettingsGroup):
    """Architecture and width of a network."""

    name: str
    """Name of the architecture, a key of `palimpsest.networks.NETWORKS`."""
    width: Annotated[int, Field(ge=1, le=2**14)] = 64
    """Number of channels of the first stage; the study's networks have 64."""

    @property
    def initial_weights(self) -> Path | None:
        """File of weights with which new networks of these settings start; None for random weights."""
        return None

    @property
    def has_backbone(self) -> bool:
        """True if the network contains a backbone of the library timm."""
        return False

    def with_weights(self, path_of: Callable[[str], Path]) -> Self:
        """Return the settings with the file of downloaded weights, if the network needs weights and names no file.

        ``path_of`` returns the path of a network's weights.
        """
        return self

    def for_inference(self) -> Self:
        """Return the settings without files of initial weights, which inference does not need."""
        return self

    def fits(self, required: Self) -> bool:
        """Return whether tensors of this network serve a stored task that needs the network ``required``."""
        return self == required
