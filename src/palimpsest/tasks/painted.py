"""Label maps as pictures, for segmentation with losses of pictures, as in the study.

Each class has a colour; a pixel of a predicted picture gets the class of the nearest colour.
"""

import torch
from torch import Tensor, nn

from palimpsest.data.voc import palette
from palimpsest.metrics.segmentation import IGNORED


class Colours(nn.Module):
    """Colour of each class: the first ``classes`` colours of VOC's palette."""

    colours: Tensor
    """RGB in [0, 1], (classes, 3)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("colours", torch.from_numpy(palette()[:classes].copy()).float() / 255)

    def paint(self, labels: Tensor) -> Tensor:
        """Return label maps (N, H, W) as pictures (N, 3, H, W) in [0, 1]; ignored pixels become background."""
        return self.colours[labels.where(labels != IGNORED, 0)].movedim(-1, 1)

    def scores(self, picture: Tensor) -> Tensor:
        """Return scores (N, classes, H, W) of pictures (N, 3, H, W): minus the squared distance to each colour."""
        distance = (picture[:, None] - self.colours[None, :, :, None, None]).square().sum(2)
        return -distance
