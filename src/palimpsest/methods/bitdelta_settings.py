"""Settings of the method `bitdelta`."""

from typing import Annotated

from pydantic import Field

from palimpsest.schema import SettingsGroup, Share


class BitDeltaSettings(SettingsGroup):
    """One bit of change per weight (after Liu et al. 2024)."""

    quantised_after: Share = 0.6
    """Share of the steps with plain fine-tuning; the remaining steps train through the quantisation."""
    threshold: Annotated[float, Field(ge=0)] = 0.0
    """Multiple of a channel's mean change below which a direction is 0; a zero takes one bit, −1 and 1 take two.
    Without a threshold (0) all directions are −1 or 1, at one bit."""
