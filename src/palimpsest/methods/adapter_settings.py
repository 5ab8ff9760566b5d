"""Settings of the method `adapter`."""

from typing import Annotated

from pydantic import Field

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Positive


class AdapterSettings(MethodSettings):
    """Parallel convolutions (Rebuffi et al. 2018)."""

    rank: Annotated[int, Field(ge=0)] = 0
    """Rank of adapters with the kernel size of their layer; 0 for adapters that are 1×1 convolutions."""
    lr_multiplier: Positive = 1.0
    """Factor of `training.learning_rate` for the adapters."""
