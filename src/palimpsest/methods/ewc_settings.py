"""Settings of the method `ewc`."""

from typing import Annotated

from pydantic import Field

from palimpsest.methods.fine_tune_settings import FineTuneSettings
from palimpsest.schema import PositiveShare


class EwcSettings(FineTuneSettings):
    """Elastic weight consolidation (Kirkpatrick et al. 2017; online: Schwarz et al. 2018)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """λ, the stiffness of the springs; each earlier task's Fisher information is 1 in the mean."""
    decay: PositiveShare = 1.0
    """γ, what is left of the earlier tasks' Fisher information when one is added."""
    pictures: Annotated[int, Field(ge=1)] = 64
    """Training pictures from which the Fisher information is estimated."""
