"""Settings of the kind `colorization`."""

from typing import Literal

from palimpsest.tasks.settings import TaskSettings


class ColorizationSettings(TaskSettings):
    """Grey photograph → colour photograph."""

    kind: Literal["colorization"]
    loss: Literal["l1", "l2"] = "l1"
    output: Literal["rgb", "chroma"] = "rgb"
    """`rgb`: the network gives the picture (the study's); `chroma`: it gives the colour, and the input keeps
    its luminance."""

    @property
    def form(self) -> str:
        """Form of the network's output: the setting `output`."""
        return self.output
