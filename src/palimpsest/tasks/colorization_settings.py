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
    """Exponent k of the weights of pixels in the loss: a pixel whose colour has the fraction p of the training
    pixels has a weight proportional to p⁻ᵏ. At 0 all pixels count alike, and the network learns to predict the
    frequent colours, which are nearly grey; at 1 all colours count alike."""
    output: Literal["rgb", "chroma"] = "rgb"
    """Output of the network. `rgb`: the picture (as in the study); `chroma`: the colour alone, which is added to
    the luminance of the input."""

    @property
    def output_space(self) -> str:
        """Colour space of the network's output."""
        return self.output
