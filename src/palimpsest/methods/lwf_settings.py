"""Settings of the method `lwf`."""

from typing import Annotated

from pydantic import Field

from palimpsest.methods.fine_tune_settings import FineTuneSettings
from palimpsest.schema import Positive


class LwfSettings(FineTuneSettings):
    """Learning without forgetting (Li & Hoiem 2016)."""

    weight: Annotated[float, Field(ge=0)] = 10.0
    """λ₀, the weight of the distance between the earlier tasks' predictions now and before, as a multiple of the
    new task's loss."""
    temperature: Positive = 2.0
    """Divisor of the class scores before they are compared as probabilities."""
