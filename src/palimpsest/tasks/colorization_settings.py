"""Settings of the kind `colorization`."""

from typing import Literal

from palimpsest.tasks.settings import TaskSettings


class ColorizationSettings(TaskSettings):
    """Grey photograph → colour photograph."""

    kind: Literal["colorization"]
    loss: Literal["l1", "l2"] = "l1"
    output: Literal["rgb", "chroma"] = "rgb"
    """`rgb`: the network predicts the picture (as in the study); `chroma`: it predicts the colour, and the
    luminance is that of the input."""

    @property
    def output_space(self) -> str:
        """Colour space of the network's output."""
        return self.output
