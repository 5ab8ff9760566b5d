"""Settings of the network."""

from typing import Annotated, Literal

from pydantic import Field

from palimpsest.schema import SettingsGroup


class NetworkSettings(SettingsGroup):
    """The network of the sequence."""

    name: Literal["unet", "resblock"] = "unet"
    """`resblock` is the network of the methods that are called so, and of no others. Set by `Settings.network_of`,
    and refused in the user's settings, as `blocks` is."""
    blocks: Annotated[int, Field(ge=0)] = 0
    """Residual blocks at each place of such a network; each method has its own number."""
    width: Annotated[int, Field(ge=1)] = 64
    """Channels of the first stage; the study's network has 64."""
    resblock_width: Annotated[int, Field(ge=1)] | None = None
    """The same of the residual networks, where it differs: at equal width they take twice the time, or thrice."""
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"
