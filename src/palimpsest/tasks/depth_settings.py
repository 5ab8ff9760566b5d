"""Settings of the kind `depth`."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from palimpsest.schema import Positive
from palimpsest.tasks.settings import TaskSettings


class DepthSettings(TaskSettings):
    """Photograph → depth, or another positive number, per pixel."""

    kind: Literal["depth"]
    range: tuple[Positive, Positive]
    """Smallest and largest depth, in the unit of the metrics, as [0.5, 10] metres. Predictions are within the
    range; pixels with a depth outside or NaN count neither in the loss nor in the metrics."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Units per number in the target files: 0.001 for millimetres in a 16-bit PNG and metres in `range`."""

    @field_validator("range")
    @classmethod
    def _rises(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] < limits[1]:
            raise ValueError(f"{[*limits]} is not ascending; put the smaller depth first")
        return limits

    def preparation(self) -> dict[str, Any]:
        """Return the conversion of stored numbers."""
        return {"scale": self.scale, "valid": self.range}

    @property
    def gives_picture(self) -> bool:
        """False, because depth is no photograph for another task."""
        return False
