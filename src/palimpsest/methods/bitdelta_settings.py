"""Settings of the method `bitdelta`."""

from typing import Annotated

from pydantic import Field

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Share


class BitDeltaSettings(MethodSettings):
    """One bit of change per weight (after Liu et al. 2024)."""

    quantised_after: Share = 0.6
    """Fraction of the steps, at the start, with plain fine-tuning; the remaining steps train quantised weights."""
    threshold: Annotated[float, Field(ge=0)] = 0.0
    """Smallest change of a weight that is stored, as a multiple of its output channel's mean absolute change; a
    smaller change is stored as 0, which takes one bit, and −1 and 1 take two. At 0, the default, every weight
    stores −1 or 1 in one bit."""
