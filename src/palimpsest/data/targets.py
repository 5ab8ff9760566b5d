"""Forms of the targets that stand beside prepared pictures, without arrays and PyTorch."""

from dataclasses import dataclass
from typing import Literal

TargetName = Literal["labels", "picture", "values"]


@dataclass(frozen=True)
class Target:
    """Form of one row of `target.npy`."""

    name: TargetName
    dtype: Literal["uint8", "float32"]
    channels: int | None
    """Length of the last axis; None for rows of shape (S, S)."""
    interpolation: Literal["nearest", "bicubic"]
    """Resizing in preparation. A training crop of `bicubic` targets is resized bilinearly, as its picture is."""

    def shape(self, size: int) -> tuple[int, ...]:
        """Return the shape of one row of this side."""
        return (size, size) if self.channels is None else (size, size, self.channels)


LABELS = Target("labels", "uint8", None, "nearest")
"""Class labels, 255 ignored."""
PICTURE = Target("picture", "uint8", 3, "bicubic")
"""RGB picture."""
VALUES = Target("values", "float32", 1, "nearest")
"""One number a pixel; NaN where it is unknown. Interpolation would invent values at the borders of objects."""

TARGETS: dict[str, Target] = {target.name: target for target in (LABELS, PICTURE, VALUES)}
"""Forms by name, as `info.json` has them. No two have the same dtype and channels."""
