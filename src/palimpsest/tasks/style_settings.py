"""Settings of the kind `style`."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from palimpsest.schema import Share, UserPath
from palimpsest.tasks.settings import TaskSettings


class StyleSettings(TaskSettings):
    """Photograph → photograph in the style of a painting."""

    kind: Literal["style"]
    picture: UserPath
    """Picture file of the painting."""
    picture_size: Annotated[int, Field(ge=32)] = 128
    """Shorter side of the scaled painting in pixels; it determines the size of the strokes."""
    content_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the content loss: the relative squared error of the photograph's features."""
    style_weight: Annotated[float, Field(ge=0)] = 2.0
    """Weight of the style loss: the relative squared error of the painting's Gram matrices."""
    tv_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the total variation: the mean absolute difference of neighbouring pixels in [0, 1]."""
    own_share: Share = 0.1
    """Fraction of the style loss that compares the Gram matrices of each picture; the remaining fraction compares
    their mean over a batch. 1 is the loss of Gatys and of the study, which paints a grid on flat surfaces."""
    grid_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of the grid loss, which penalises a periodic grid in predictions; the study has no such loss."""
    perceptual: Literal["random", "squeezenet", "vgg16"] = "squeezenet"
    """Network whose features the content and style losses compare. `random` has random weights and needs no
    file."""
    weights: UserPath | None = None
    """File with the weights of the perceptual network; by default it is read from `weights/` in `data_root` or
    downloaded."""

    def files(self) -> list[Path]:
        """Return the painting and the weights of the perceptual network."""
        return [self.picture, *([self.weights] if self.weights else [])]

    def users_files(self) -> dict[str, Path]:
        """Return the painting and the weights of the perceptual network, if given."""
        return {"picture": self.picture, **({"weights": self.weights} if self.weights else {})}

    def with_weights(self, path_of: Callable[[str], Path]) -> typing.Self:
        """Return the settings with the weights of the perceptual network."""
        if self.weights or self.perceptual == "random":
            return self
        return self.model_copy(update={"weights": path_of(self.perceptual)})
