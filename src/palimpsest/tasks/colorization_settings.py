"""Settings of the kind `colorization`."""

from typing import Literal

from palimpsest.tasks.settings import TaskSettings


class ColorizationSettings(TaskSettings):
    """Grey photograph → colour photograph."""

    kind: Literal["colorization"]
    loss: Literal["l1", "l2"] = "l1"
    """Distance between prediction and target: mean absolute (`l1`) or mean squared (`l2`) error of the pixels."""
    output: Literal["rgb", "chroma"] = "rgb"
    """Output of the network. `rgb`: the picture (as in the study); `chroma`: the colour alone, which is added to
    the luminance of the input."""

    @property
    def output_space(self) -> str:
        """Colour space of the network's output."""
        return self.output
