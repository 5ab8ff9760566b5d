"""Conversion of grey values of more than 8 bits, such as depth in millimetres, to 8 bits."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FULL_RANGE = 65535
"""White in 16 bits; floating-point values range from 0 to 1."""

BAND_VALUES = 2**22
"""Number of values converted at a time, since the conversion takes three times 8 bytes per value."""


@dataclass
class GreyScale:
    """Linear conversion of grey values to 0 to 255, with statistics of all values since the last `restart`."""

    limits: tuple[float, float] | None = None
    """Values that become black and white; values outside are clipped and counted.

    None for the full range, 0 to 65535 of integers or 0 to 1 of floats; values outside are then an error.
    """
    key: str = ""
    """Name of the setting of `limits`, for messages; empty if there is none."""
    lowest: float = field(default=math.inf, init=False)
    """Smallest value."""
    highest: float = field(default=-math.inf, init=False)
    """Largest value."""
    pictures: int = field(default=0, init=False)
    """Number of converted pictures."""
    clipped: int = field(default=0, init=False)
    """Number of clipped pixels."""
    _applied: tuple[float, float] = field(default=(0, FULL_RANGE), init=False)
    """Limits of the last picture."""

    def restart(self) -> None:
        """Reset the statistics, at the start of a split."""
        self.lowest, self.highest, self.pictures, self.clipped = math.inf, -math.inf, 0, 0

    def to_eight_bits(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return grey values (H, W) as uint8 (H, W), and add them to the statistics.

        Raises:
            ValueError: a value is NaN or infinite, or `limits` is None and a value is outside the full range.
        """
        full = 1 if values.dtype.kind == "f" else FULL_RANGE
        lowest, highest = float(values.min()), float(values.max())
        low, high = self.limits or (0, full)
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            count = int((~np.isfinite(values)).sum())
            advice = f"; {self.key} does not replace them" if self.limits and self.key else ""
            raise ValueError(
                f"{count} grey values are NaN or infinite; replace them by finite numbers, as by black for pixels "
                f"without a measurement{advice}"
            )
        if self.limits is None and not (lowest >= 0 and highest <= full):
            advice = f", or set {self.key}" if self.key else ""
            raise ValueError(
                f"grey values from {lowest:g} to {highest:g} exceed the range 0 to {full}; scale them{advice}"
            )
        self.pictures += 1
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        self._applied = (low, high)
        scaled = np.empty(values.shape, np.uint8)
        band = max(1, BAND_VALUES // max(1, values.shape[1]))
        for top in range(0, len(values), band):
            rows = values[top : top + band].astype(np.float64)
            self.clipped += int(((rows < low) | (rows > high)).sum())
            scaled[top : top + band] = np.rint(((rows - low) * (255 / (high - low))).clip(0, 255))
        return scaled

    def refuse_eight_bits(self, mode: str) -> None:
        """Refuse a picture of 8 bits per channel if `limits` are set; ``mode`` is Pillow's name of its mode.

        Raises:
            ValueError: `limits` are set, which are for grey pictures of 16 bits and more.
        """
        if self.limits is not None:
            raise ValueError(
                f"a picture of 8 bits per channel ({mode}), but {self.key} is for grey pictures of 16 bits and "
                f"more; convert it, or remove {self.key}"
            )

    def summary(self) -> dict[str, float] | None:
        """Return limits and statistics since `restart`, for `info.json`; None if no picture was converted."""
        if not self.pictures:
            return None
        return {
            "pictures": self.pictures,
            "black": self._applied[0],
            "white": self._applied[1],
            "lowest": self.lowest,
            "highest": self.highest,
            "clipped_pixels": self.clipped,
        }

    def describe(self) -> str:
        """Return the `summary` as one line for the log."""
        low, high = self._applied
        ranged = (
            f"by {self.key}" if self.limits else f"the full range; set {self.key} if the values use a part of it"
        )
        clipped = f", pixels clipped: {self.clipped}" if self.limits else ""
        return (
            f"{self.pictures} of 16 bits and more, values {self.lowest:g} to {self.highest:g}; "
            f"{low:g} to {high:g} become 0 to 255 ({ranged}){clipped}"
        )


@dataclass
class SideBySide:
    """Conversions of the two halves of a picture, which are side by side in one file."""

    left: GreyScale
    right: GreyScale

    def to_eight_bits(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return grey values (H, W) as uint8 (H, W), each half converted by its own `GreyScale`.

        Raises:
            ValueError: as `GreyScale.to_eight_bits`, or the width is odd.
        """
        width = values.shape[1]
        if width % 2:
            raise ValueError(f"a width of {width} pixels has no two equal halves; crop the picture")
        halves = values[:, : width // 2], values[:, width // 2 :]
        return np.hstack([self.left.to_eight_bits(halves[0]), self.right.to_eight_bits(halves[1])])

    def refuse_eight_bits(self, mode: str) -> None:
        """Refuse a picture of 8 bits per channel if the limits of either half are set.

        Raises:
            ValueError: limits are set.
        """
        self.left.refuse_eight_bits(mode)
        self.right.refuse_eight_bits(mode)


Scale = GreyScale | SideBySide
