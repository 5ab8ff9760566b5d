"""Frame of the annotations of pictures that EXIF turns by 90°: stored (as in the file) or shown (as in a viewer).

The JSON declares the size in one of the two frames, but some tools declare the stored size and draw the outlines in
the shown frame. Only pictures whose stored and shown sizes differ tell which frame the outlines are in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from palimpsest.data.outlines import FRAME_SHARE, REACH_SHARE, Size, fits_frame
from palimpsest.data.pictures import Frame
from palimpsest.errors import DataError


@dataclass(frozen=True)
class Votes:
    """Numbers of turned pictures whose annotations fit only one of the two frames."""

    declared: int = 0
    """Number of pictures whose annotations fit only the frame of the size in the JSON (without a size, shown)."""
    transposed: int = 0
    """Number of pictures whose annotations fit only the transposed frame."""

    def __add__(self, votes: "Votes") -> "Votes":
        """Return the sum of the votes of two sets of pictures."""
        return Votes(self.declared + votes.declared, self.transposed + votes.transposed)

    @property
    def deciding(self) -> int:
        """Number of pictures whose annotations fit only one frame."""
        return self.declared + self.transposed

    @property
    def swapped(self) -> bool:
        """True if outlines are in the transposed frame: at least one picture decides, and all decide for it."""
        return self.transposed > 0 and self.declared == 0


class Turned(NamedTuple):
    """Frame in which the annotations of one turned picture were read."""

    as_shown: bool
    """True for the shown frame, False for the stored frame."""
    deciding: int
    """Number of pictures that decide the frame; if it is 0, the size in the JSON decides."""


def vote(frame: Frame, declared: Size | None, segmentations: Sequence[Any]) -> Votes:
    """Return the vote of one picture, by the frame that the outlines of all its annotations fit.

    ``declared`` is the size in the JSON, None if it has none. There is no vote (`Votes()`) if both frames have
    equal sizes, or if both or none fit. Outlines that exceed the declared frame by less than `REACH_SHARE` are no
    vote for the transposed frame.
    """
    size = declared or frame.shown
    if frame.shown == frame.stored or size not in (frame.shown, frame.stored):
        return Votes()
    fits_declared = _fit(segmentations, size, FRAME_SHARE)
    fits_transposed = _fit(segmentations, _transposed(frame, size), FRAME_SHARE)
    exceeds_declared = not _fit(segmentations, size, REACH_SHARE)
    return Votes(fits_declared and not fits_transposed, fits_transposed and exceeds_declared)


def drawn_size(where: str, frame: Frame, declared: Size, segmentations: Sequence[Any], votes: Votes) -> Size:
    """Return (height, width) of the frame in which the annotations of a turned picture have to be read.

    ``where`` names the picture in messages, ``declared`` is its size in the JSON, ``votes`` are those of the split.

    Raises:
        DataError: the annotations fit neither frame, or not the frame of the other pictures of the data set.
    """
    transposed = _transposed(frame, declared)
    accepted, rejected = (transposed, declared) if votes.swapped else (declared, transposed)
    if not any(_fit(segmentations, size, REACH_SHARE) for size in (declared, transposed)):
        raise DataError(
            f"{where}: its annotations fit the picture neither as stored, {_described(frame.stored)}, "
            f"nor as shown, {_described(frame.shown)}; export them again for this file"
        )
    if _fit(segmentations, rejected, FRAME_SHARE) and not _fit(segmentations, accepted, REACH_SHARE):
        raise DataError(
            f"{where}: its annotations fit a picture of {_described(rejected)} pixels, but those of other pictures "
            f"turned by EXIF are for {_described(accepted)}; export all of them in one frame"
        )
    return accepted


def _transposed(frame: Frame, size: Size) -> Size:
    return frame.stored if size == frame.shown else frame.shown


def _fit(segmentations: Sequence[Any], size: Size, share: float) -> bool:
    return all(fits_frame(segmentation, size, share) for segmentation in segmentations)


def _described(size: Size) -> str:
    return f"{size[1]}×{size[0]}"
