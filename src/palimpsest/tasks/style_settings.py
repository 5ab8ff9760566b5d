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
    """The painting."""
    picture_size: Annotated[int, Field(ge=32)] = 128
    """Shorter side of the scaled painting in pixels; it determines the size of the strokes."""
    content_weight: Annotated[float, Field(ge=0)] = 1.0
    style_weight: Annotated[float, Field(ge=0)] = 2.0
    tv_weight: Annotated[float, Field(ge=0)] = 1.0
    own_share: Share = 0.1
    """Share of the style loss on single pictures; the remaining share is on a batch's mean Gram matrices. 1 is the
    loss of Gatys and of the study, which paints a grid on flat surfaces."""
    grid_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of the loss against a periodic grid in predictions; the study has no such loss."""
    perceptual: Literal["random", "squeezenet", "vgg16"] = "squeezenet"
    weights: UserPath | None = None
    """File of the perceptual network; by default it comes from data_root/weights or a download."""

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
