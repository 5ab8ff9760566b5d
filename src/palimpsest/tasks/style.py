"""The task kind `style`: a photograph, painted in the manner of one painting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from palimpsest.data.pictures import Limits, read_picture
from palimpsest.errors import DataError
from palimpsest.metrics.perceptual import (
    Tiles,
    content_loss,
    gram_matrix,
    grid_loss,
    style_loss,
    tiles,
    total_variation,
)
from palimpsest.metrics.pictures import ssim
from palimpsest.networks.perceptual import PERCEPTUAL_NETWORKS
from palimpsest.tasks.base import Batch, Meter, Pixels, Targets, Task, to_pixels, unit
from palimpsest.tasks.style_settings import StyleSettings


class StyleTask(Task):
    """Photographs in the style of one painting; there is no truth, only what a perceptual network sees.

    total_loss = content_weight · content + style_weight · style + tv_weight · total variation + grid_weight · grid,
    with the losses of `palimpsest.metrics.perceptual`; the study's has no grid and an `own_share` of 1. Content and
    variation are means over pictures. Style is asked mostly of the pictures together, by the mean of their Gram
    matrices, and of each alone only at `own_share`: a cloudless sky holds no place for all colours of a painting,
    whose own details differ from the whole as much. A network that must put them there all the same paints a grid.
    """

    GRID = 16
    """Period of the grid that `grid_loss` looks for, in pixels: the stride of the networks at their coarsest."""

    def __init__(self, name: str, settings: StyleSettings) -> None:
        super().__init__(name, settings)
        self.head_channels = 3
        self.settings = settings
        self._perceptual_loss: PerceptualLoss | None = None

    def perceptual_loss(self, device: torch.device) -> "PerceptualLoss":
        """Return the perceptual loss, created on first use, since inference does not need it.

        Raises:
            DataError: the painting or the weights file is missing, unreadable or of another kind.
        """
        if self._perceptual_loss is None:
            self._perceptual_loss = PerceptualLoss(self.settings, f"tasks.{self.name}")
        return self._perceptual_loss.to(device)

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the painted photograph: (N, 3, H, W), float32 in [0, 1]."""
        # In the order in which gradients of Gram matrices come: with two orders a step takes a tenth longer.
        return output.to(torch.float32, memory_format=torch.contiguous_format).sigmoid()

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``loss`` and its weighted parts, which sum to it."""
        return self.weighed(self.statistics(prediction, unit(batch["picture"])))

    def statistics(self, prediction: Tensor, photograph: Tensor) -> "StyleStatistics":
        """Return the statistics of predictions against photographs, both (N, 3, H, W) in [0, 1]."""
        perceptual_loss = self.perceptual_loss(prediction.device)
        with torch.no_grad():
            targets = perceptual_loss.perceptual.content(photograph)
        features = perceptual_loss.perceptual(prediction)
        grams = [gram_matrix(layer) for layer in features.style]
        return StyleStatistics(
            content=content_loss(features.content, targets),
            style=style_loss(grams, perceptual_loss.grams),
            variation=total_variation(prediction),
            tiles=tiles(prediction, self.GRID),
            grams=[gram.mean(0, keepdim=True) for gram in grams],
        )

    def weighed(self, statistics: "StyleStatistics") -> dict[str, Tensor]:
        """``loss``, ``content_loss``, ``style_loss``, ``tv_loss`` and ``grid_loss``, scalars."""
        together = style_loss(statistics.grams, self.perceptual_loss(statistics.content.device).grams)[0]
        own = self.settings.own_share
        style = own * statistics.style.mean() + (1 - own) * together
        parts = {
            "content_loss": self.settings.content_weight * statistics.content.mean(),
            "style_loss": self.settings.style_weight * style,
            "tv_loss": self.settings.tv_weight * statistics.variation.mean(),
            "grid_loss": self.settings.grid_weight * grid_loss(statistics.tiles),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def meter(self) -> Meter:
        """Total loss and its parts, with the split as one batch, and the mean SSIM to the photograph."""
        return StyleMeter(self)

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the photograph itself."""
        return lambda batch: unit(batch["picture"])

    def paint(self, prediction: Tensor) -> Pixels:
        """Return the painted photograph, uint8 (N, H, W, 3)."""
        return to_pixels(prediction)

    def paint_target(self, batch: Batch) -> Pixels:
        """Return the photograph itself."""
        return to_pixels(unit(batch["picture"]))


class PerceptualLoss(nn.Module):
    """A perceptual network, and what the painting looks like to it; ``key`` is the settings' path."""

    def __init__(self, settings: StyleSettings, key: str) -> None:
        super().__init__()
        with set_by(f"{key}.weights"):
            self.perceptual = PERCEPTUAL_NETWORKS[settings.perceptual](settings.weights)
        with set_by(f"{key}.picture"):
            painting = unit(read_painting(settings.picture, settings.picture_size))
        with torch.no_grad():
            grams = [gram_matrix(features) for features in self.perceptual(painting).style]
        self._layers = len(grams)
        for layer, gram in enumerate(grams):
            self.register_buffer(f"gram_{layer}", gram, persistent=False)

    @property
    def grams(self) -> list[Tensor]:
        """The painting's Gram matrix (1, C, C) per style layer."""
        return [self.get_buffer(f"gram_{layer}") for layer in range(self._layers)]


@dataclass(frozen=True)
class StyleStatistics:
    """Perceptual statistics of N predicted pictures."""

    content: Tensor
    """(N,), relative to the photograph's."""
    style: Tensor
    """(N,), of each picture alone, relative to the painting's."""
    variation: Tensor
    """(N,)"""
    tiles: Tiles
    """Sums over all pictures."""
    grams: list[Tensor]
    """(1, C, C) per layer: means over the pictures."""


class StyleMeter:
    """Gathers the statistics of every picture; what is reported does not depend on the batches."""

    def __init__(self, task: StyleTask) -> None:
        self.task = task
        self.batches: list[StyleStatistics] = []
        self.similarities: list[float] = []

    @torch.no_grad()
    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add one batch; in float32, so that reported losses do not depend on how training is sped up."""
        photograph = unit(batch["picture"])
        with torch.autocast(prediction.device.type, enabled=False):
            self.batches.append(self.task.statistics(prediction.float(), photograph))
        self.similarities += [
            ssim(channels_last(painted), channels_last(original))
            for painted, original in zip(prediction.float(), photograph, strict=True)
        ]

    def compute(self) -> dict[str, float]:
        """``total_loss``, its parts and ``ssim``."""
        counts = [len(statistics.content) for statistics in self.batches]
        whole = StyleStatistics(
            content=torch.cat([statistics.content for statistics in self.batches]),
            style=torch.cat([statistics.style for statistics in self.batches]),
            variation=torch.cat([statistics.variation for statistics in self.batches]),
            tiles=Tiles(
                *(
                    torch.stack(sums).sum(0)
                    for sums in zip(*(statistics.tiles for statistics in self.batches), strict=True)
                )
            ),
            grams=[
                torch.stack([n * gram for n, gram in zip(counts, layer, strict=True)]).sum(0) / sum(counts)
                for layer in zip(*(statistics.grams for statistics in self.batches), strict=True)
            ],
        )
        losses = self.task.weighed(whole)
        metrics = {"total_loss": losses.pop("loss"), **losses}
        return {name: value.item() for name, value in metrics.items()} | {"ssim": float(np.mean(self.similarities))}


def read_painting(path: Path, shorter_side: int) -> Tensor:
    """Return a painting as uint8 (1, 3, H, W) RGB, scaled so that its shorter side has that many pixels.

    Raises:
        DataError: the file is missing or no picture.
    """
    picture = Image.fromarray(read_picture(path, Limits(key="")))
    scale = shorter_side / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


@contextmanager
def set_by(key: str) -> Iterator[None]:
    """Has the error of a file say which setting names it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; see {key}") from error


def channels_last(picture: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(3, H, W) → (H, W, 3) in memory of the CPU."""
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = picture.permute(1, 2, 0).cpu().numpy()
    return array
