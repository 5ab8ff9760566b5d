"""Annotations of pictures that EXIF turns by 90°: given in the stored or in the shown frame.

Only pictures whose stored and shown sizes differ give evidence of the frame. Files give the size in one frame;
some tools write the size as stored and the outlines as shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from palimpsest.data.outlines import FRAME_SHARE, REACH_SHARE, Size, fits_frame
from palimpsest.data.pictures import Frame
from palimpsest.errors import DataError


@dataclass(frozen=True)
class Votes:
    """Numbers of turned pictures whose annotations fit one frame alone."""

    declared: int = 0
    """The frame of the declared size, or the shown one without a size."""
    other: int = 0

    def __add__(self, more: "Votes") -> "Votes":
        """Add the votes of other pictures."""
        return Votes(self.declared + more.declared, self.other + more.other)

    @property
    def deciding(self) -> int:
        """Number of pictures whose annotations fit one frame alone."""
        return self.declared + self.other

    @property
    def swapped(self) -> bool:
        """Return whether outlines are in the other frame: at least one picture shows it, and none the contrary."""
        return self.other > 0 and self.declared == 0


class Turned(NamedTuple):
    """Frame that the annotations of a turned picture are read in."""

    as_shown: bool
    """True for the frame as shown, False for the stored one."""
    deciding: int
    """Number of pictures that decide it; without any the size in the JSON does."""


def vote(frame: Frame, declared: Size | None, segmentations: Sequence[Any]) -> Votes:
    """Return the vote of one picture: none where both frames are alike, fit, or do not fit.

    Outlines that reach out of the declared frame no further than they may in any picture are no vote for the other.
    """
    size = declared or frame.shown
    if frame.shown == frame.stored or size not in (frame.shown, frame.stored):
        return Votes()
    fits_declared = _fit(segmentations, size, FRAME_SHARE)
    fits_other = _fit(segmentations, _other(frame, size), FRAME_SHARE)
    exceeds_declared = not _fit(segmentations, size, REACH_SHARE)
    return Votes(fits_declared and not fits_other, fits_other and exceeds_declared)


def drawn_size(where: str, frame: Frame, declared: Size, segmentations: Sequence[Any], votes: Votes) -> Size:
    """Return (height, width) of the frame that the annotations of a turned picture are given in.

    Raises:
        DataError: they fit neither frame, or not the frame of the data set's other pictures; names ``where``.
    """
    other = _other(frame, declared)
    chosen, rejected = (other, declared) if votes.swapped else (declared, other)
    if not any(_fit(segmentations, size, REACH_SHARE) for size in (declared, other)):
        raise DataError(
            f"{where}: its annotations fit the picture neither as stored, {_described(frame.stored)}, "
            f"nor as shown, {_described(frame.shown)}; export them again for this file"
        )
    if _fit(segmentations, rejected, FRAME_SHARE) and not _fit(segmentations, chosen, REACH_SHARE):
        raise DataError(
            f"{where}: its annotations fit a picture of {_described(rejected)} pixels, but those of other pictures "
            f"turned by EXIF are for {_described(chosen)}; export all of them in one frame"
        )
    return chosen


def _other(frame: Frame, size: Size) -> Size:
    return frame.stored if size == frame.shown else frame.shown


def _fit(segmentations: Sequence[Any], size: Size, share: float) -> bool:
    return all(fits_frame(segmentation, size, share) for segmentation in segmentations)


def _described(size: Size) -> str:
    return f"{size[1]}×{size[0]}"
