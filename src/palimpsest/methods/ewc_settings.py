"""Settings of the method `ewc`."""

from typing import Annotated

from pydantic import Field

from palimpsest.methods.fine_tune_settings import FineTuneSettings
from palimpsest.schema import PositiveShare


class EwcSettings(FineTuneSettings):
    """Elastic weight consolidation (Kirkpatrick et al. 2017; online: Schwarz et al. 2018)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """λ, the weight of the penalty on changes of weights; the Fisher information of each earlier task, which
    weights the changes, has a mean of 1."""
    decay: PositiveShare = 1.0
    """γ, the factor of the earlier tasks' Fisher information when that of a new task is added."""
    pictures: Annotated[int, Field(ge=1)] = 64
    """Number of training pictures from which a task's Fisher information is estimated."""
