"""Settings of the kind `colorization`."""

from typing import Literal

from palimpsest.schema import Share
from palimpsest.tasks.settings import TaskSettings


class ColorizationSettings(TaskSettings):
    """Grey photograph → colour photograph."""

    kind: Literal["colorization"]
    loss: Literal["l1", "l2"] = "l1"
    """Distance between prediction and target: mean absolute (`l1`) or mean squared (`l2`) error of the pixels."""
    colour_balance: Share = 0.0
    """Exponent k of the weights of pixels in the loss: a pixel has a weight proportional to p⁻ᵏ, where p is the
    mean of two fractions: that of its colour among the training pixels, and 1/n for n occurring colours. At 0 all
    pixels count alike, and the network predicts the frequent colours, which are nearly grey. A larger k gives
    stronger colours and larger errors."""
    output: Literal["rgb", "chroma"] = "rgb"
    """Output of the network. `rgb`: the picture (as in the study); `chroma`: the colour alone, which is added to
    the luminance of the input."""

    @property
    def output_space(self) -> str:
        """Colour space of the network's output."""
        return self.output
