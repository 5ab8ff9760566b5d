"""Settings of the residual network."""

from typing import Annotated, Literal, Self

from pydantic import Field

from palimpsest.networks.settings import NetworkSettings


class ResblockSettings(NetworkSettings):
    """The study's auto-encoder with residual blocks in the middle."""

    name: Literal["resblock"] = "resblock"
    blocks: Annotated[int, Field(ge=0)] = 6
    """Residual blocks at each of two levels; set by the methods that require this network."""
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"

    def fits(self, required: Self) -> bool:
        """Return whether both networks have the same auto-encoder; the number of blocks can differ."""
        return self.model_copy(update={"blocks": required.blocks}) == required
