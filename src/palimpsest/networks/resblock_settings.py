"""Settings of the residual network."""

from typing import Annotated, Literal, Self

from pydantic import Field

from palimpsest.networks.settings import NetworkSettings


class ResblockSettings(NetworkSettings):
    """The study's auto-encoder with residual blocks in its middle."""

    name: Literal["resblock"] = "resblock"
    blocks: Annotated[int, Field(ge=0)] = 6
    """Residual blocks at each of two places; the methods that bring this network set it themselves."""
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"

    def fits(self, other: Self) -> bool:
        """Return whether both have the same auto-encoder; a task can add blocks to it."""
        return self.model_copy(update={"blocks": other.blocks}) == other
