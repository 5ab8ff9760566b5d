"""Types of targets of prepared pictures; imports neither NumPy nor PyTorch."""

from dataclasses import dataclass
from typing import Literal

TargetName = Literal["labels", "picture", "values"]


@dataclass(frozen=True)
class Target:
    """Type of the targets of a task: dtype and channels of a target in `target.npy`, and its interpolation."""

    name: TargetName
    """Name of the type in `info.json`."""
    dtype: Literal["uint8", "float32"]
    channels: int | None
    """Length of the last axis; None for targets of shape (S, S)."""
    interpolation: Literal["nearest", "bicubic"]
    """Interpolation in preparation. Training crops of `bicubic` targets are resized bilinearly, like pictures."""

    def shape(self, size: int) -> tuple[int, ...]:
        """Return the shape of one target with sides of ``size`` pixels."""
        return (size, size) if self.channels is None else (size, size, self.channels)


LABELS = Target("labels", "uint8", None, "nearest")
"""Class labels, 255 ignored."""
PICTURE = Target("picture", "uint8", 3, "bicubic")
"""RGB picture."""
VALUES = Target("values", "float32", 1, "nearest")
"""One number per pixel, NaN if unknown. Interpolation would create wrong values at the borders of objects."""

TARGETS: dict[str, Target] = {target.name: target for target in (LABELS, PICTURE, VALUES)}
"""All types of targets, by name; no two types have the same dtype and channels."""
