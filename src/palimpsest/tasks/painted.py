"""Label maps as pictures: segmentation by the losses of pictures, as the study tried it too.

Each class has a colour of its own; a label map is painted with them, and a picture is read back by the nearest one.
"""

import torch
from torch import Tensor, nn

from palimpsest.data.voc import palette
from palimpsest.metrics.segmentation import IGNORED


class Colours(nn.Module):
    """The colours of the first classes of VOC's palette."""

    colours: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("colours", torch.from_numpy(palette()[:classes].copy()).float() / 255)

    def paint(self, labels: Tensor) -> Tensor:
        """Class labels (N, H, W) → float (N, 3, H, W) in [0, 1]; where nothing counts the background's colour."""
        return self.colours[labels.where(labels != IGNORED, 0)].movedim(-1, 1)

    def scores(self, picture: Tensor) -> Tensor:
        """Float (N, 3, H, W) → (N, classes, H, W): the nearest class colour has the largest score."""
        distance = (picture[:, None] - self.colours[None, :, :, None, None]).square().sum(2)
        return -distance
