"""Settings of the residual network."""

from typing import Annotated, Literal, Self

from pydantic import Field

from palimpsest.networks.settings import NetworkSettings


class ResblockSettings(NetworkSettings):
    """The study's auto-encoder with residual blocks in the middle."""

    name: Literal["resblock"] = "resblock"
    blocks: Annotated[int, Field(ge=0, le=2**10)] = 6
    """Number of residual blocks at each of two levels; the methods that require this network set it."""
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"
    """Values beyond the border of the features in a convolution (`padding_mode` of PyTorch)."""

    def fits(self, required: Self) -> bool:
        """Return whether both networks have the same auto-encoder; the number of blocks can differ."""
        return self.model_copy(update={"blocks": required.blocks}) == required
