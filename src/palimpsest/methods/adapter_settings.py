"""Settings of the method `adapter`."""

from typing import Annotated

from pydantic import Field

from palimpsest.schema import Positive, SettingsGroup


class AdapterSettings(SettingsGroup):
    """Parallel convolutions (Rebuffi et al. 2018)."""

    rank: Annotated[int, Field(ge=0)] = 0
    """0: 1×1 convolutions; otherwise convolutions of the layer's size and of this rank."""
    lr_multiplier: Positive = 1.0
    """Learning-rate multiplier of the adapters."""
