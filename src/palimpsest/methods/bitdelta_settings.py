"""Settings of the method `bitdelta`."""

from typing import Annotated

from pydantic import Field

from palimpsest.schema import SettingsGroup, Share


class BitDeltaSettings(SettingsGroup):
    """One bit of change per weight (after Liu et al. 2024)."""

    quantised_after: Share = 0.6
    """Share of the steps of plain fine-tuning; the rest trains through the quantisation."""
    threshold: Annotated[float, Field(ge=0)] = 0.0
    """0: −1 or 1. Otherwise 0 too, where the change is below this multiple of its channel's mean; a zero takes one
    bit, what is not zero two."""
