"""The kind `style`: a photograph in the style of one painting."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from palimpsest.data.pictures import Limits, read_picture
from palimpsest.errors import DataError
from palimpsest.metrics.bootstrap import Sample
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
    """Style transfer with the features of a perceptual network as reference instead of targets.

    total_loss = content_weight · content + style_weight · style + tv_weight · total variation + grid_weight · grid,
    with the losses of `palimpsest.metrics.perceptual`; the study has no grid loss and an `own_share` of 1. Content
    and variation are means over pictures. The style loss is the weighted sum of two losses: one of the batch's mean
    Gram matrices, and, with weight `own_share`, one of each picture. A single picture, such as a cloudless sky,
    need not contain all colours of a painting; with a loss of each picture, the network paints them there as a
    grid.
    """

    GRID = 16
    """Period of the grid in `grid_loss`, in pixels: the stride of the coarsest features of the U-Net."""

    def __init__(self, name: str, settings: StyleSettings) -> None:
        super().__init__(name, settings)
        self.head_channels = 3
        self.settings = settings
        self._perceptual_loss: PerceptualLoss | None = None

    def perceptual_loss(self, device: torch.device) -> "PerceptualLoss":
        """Return the perceptual loss on a device; create it on first use, because inference does not need it.

        Raises:
            DataError: the painting or the weights file is missing, unreadable or of another type.
        """
        if self._perceptual_loss is None:
            key = f"tasks.{self.name}"
            self._perceptual_loss = PerceptualLoss(self.settings, f"{key}.weights", f"{key}.picture")
        return self._perceptual_loss.to(device)

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the painted photographs, float32 (N, 3, H, W) in [0, 1]."""
        # The memory format of the gradients of Gram matrices; with two formats a step takes a tenth longer.
        return output.to(torch.float32, memory_format=torch.contiguous_format).sigmoid()

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, the total loss of the batch, and its weighted parts; see `weighted_losses`."""
        return self.weighted_losses(self.statistics(prediction, unit(batch["picture"])))

    def statistics(self, prediction: Tensor, photograph: Tensor) -> "StyleStatistics":
        """Return the statistics of predictions relative to photographs, both float (N, 3, H, W) in [0, 1]."""
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

    def weighted_losses(self, statistics: "StyleStatistics") -> dict[str, Tensor]:
        """Return scalars: ``loss``, the sum of ``content_loss``, ``style_loss``, ``tv_loss`` and ``grid_loss``."""
        batch_style = style_loss(statistics.grams, self.perceptual_loss(statistics.content.device).grams)[0]
        share = self.settings.own_share
        style = share * statistics.style.mean() + (1 - share) * batch_style
        parts = {
            "content_loss": self.settings.content_weight * statistics.content.mean(),
            "style_loss": self.settings.style_weight * style,
            "tv_loss": self.settings.tv_weight * statistics.variation.mean(),
            "grid_loss": self.settings.grid_weight * grid_loss(statistics.tiles),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def meter(self) -> Meter:
        """Return a meter of total loss, its parts, and SSIM to the photograph."""
        return StyleMeter(self)

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the trivial baseline: a function that predicts the photographs."""
        return lambda batch: unit(batch["picture"])

    def paint(self, prediction: Tensor) -> Pixels:
        """Return the painted photographs, uint8 (N, H, W, 3)."""
        return to_pixels(prediction)

    def paint_target(self, batch: Batch) -> Pixels:
        """Return the photographs, uint8 (N, H, W, 3)."""
        return to_pixels(unit(batch["picture"]))


class PerceptualLoss(nn.Module):
    """Frozen perceptual network with the Gram matrices of a painting.

    ``weights_key`` and ``picture_key`` are the settings or options that name the files, for error messages.
    """

    def __init__(self, settings: StyleSettings, weights_key: str, picture_key: str) -> None:
        super().__init__()
        with setting_in_errors(weights_key):
            self.perceptual = PERCEPTUAL_NETWORKS[settings.perceptual](settings.weights)
        with setting_in_errors(picture_key):
            painting = unit(read_painting(settings.picture, settings.picture_size))
        with torch.no_grad():
            grams = [gram_matrix(features) for features in self.perceptual(painting).style]
        self._layers = len(grams)
        for layer, gram in enumerate(grams):
            self.register_buffer(f"gram_{layer}", gram, persistent=False)

    @property
    def grams(self) -> list[Tensor]:
        """Gram matrix (1, C, C) of the painting for each style layer."""
        return [self.get_buffer(f"gram_{layer}") for layer in range(self._layers)]


@dataclass(frozen=True)
class StyleStatistics:
    """Statistics of N predicted pictures, from which `StyleTask.weighted_losses` computes the losses."""

    content: Tensor
    """Content loss of each picture relative to its photograph, (N,)."""
    style: Tensor
    """Style loss of each picture relative to the painting, (N,)."""
    variation: Tensor
    """Total variation of each picture, (N,)."""
    tiles: Tiles
    """Sums over all pictures, for the grid loss."""
    grams: list[Tensor]
    """Mean Gram matrix (1, C, C) of the pictures for each style layer."""


class StyleMeter:
    """Meter of the losses of a split as one batch; the metrics do not depend on the size of the real batches.

    Pictures are added in groups of `GROUP`. Up to `MAX_UNITS` groups are a unit each; further groups are added to
    the units in turn, because Gram matrices of every picture would take much memory.
    """

    GROUP = 4
    """Number of pictures in a group; the last of a batch may have fewer."""
    MAX_UNITS = 64
    """Largest number of units."""

    def __init__(self, task: StyleTask) -> None:
        self.task = task
        self.by_unit: list[tuple[StyleStatistics, list[float]]] = []
        """Statistics of each unit, and SSIM of its pictures to the photographs."""
        self.added = 0
        """Number of groups so far."""

    @property
    def units(self) -> int:
        """Number of units so far."""
        return len(self.by_unit)

    @torch.no_grad()
    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add the predictions of one batch, in float32, so that the training's precision does not matter."""
        photograph = unit(batch["picture"])
        for start in range(0, len(prediction), self.GROUP):
            painted, original = (t[start : start + self.GROUP].float() for t in (prediction, photograph))
            with torch.autocast(prediction.device.type, enabled=False):
                statistics = self.task.statistics(painted, original)
            pictures = zip(painted, original, strict=True)
            self.add((statistics, [ssim(channels_last(a), channels_last(b)) for a, b in pictures]))

    def add(self, group: tuple[StyleStatistics, list[float]]) -> None:
        """Add a group as a new unit or, if there are `MAX_UNITS`, to the next unit in turn."""
        index = self.added % self.MAX_UNITS
        self.added += 1
        if index == len(self.by_unit):
            self.by_unit.append(group)
        else:
            self.by_unit[index] = merge_groups([self.by_unit[index], group])

    @torch.no_grad()
    def compute(self, sample: Sample | None = None) -> dict[str, float]:
        """Return ``total_loss``, its parts by name, and ``ssim``, the mean SSIM to the photographs."""
        groups = self.by_unit if sample is None else [self.by_unit[index] for index in sample]
        statistics, similarities = merge_groups(groups)
        losses = self.task.weighted_losses(statistics)
        metrics = {"total_loss": losses.pop("loss"), **losses}
        return {name: value.item() for name, value in metrics.items()} | {"ssim": float(np.mean(similarities))}


def merge_groups(groups: Sequence[tuple[StyleStatistics, list[float]]]) -> tuple[StyleStatistics, list[float]]:
    """Return the statistics and similarities of several groups of pictures as those of one group."""
    parts, similarities = zip(*groups, strict=True)
    counts = [len(part.content) for part in parts]
    statistics = StyleStatistics(
        content=torch.cat([part.content for part in parts]),
        style=torch.cat([part.style for part in parts]),
        variation=torch.cat([part.variation for part in parts]),
        tiles=Tiles(*(torch.stack(sums).sum(0) for sums in zip(*(part.tiles for part in parts), strict=True))),
        grams=[
            torch.stack([n * gram for n, gram in zip(counts, layer, strict=True)]).sum(0) / sum(counts)
            for layer in zip(*(part.grams for part in parts), strict=True)
        ],
    )
    return statistics, list(chain.from_iterable(similarities))


MAX_ASPECT = 20
"""Largest ratio of the sides of a painting: the features of a strip, scaled to its shorter side, would not fit into
memory."""


def read_painting(path: Path, shorter_side: int) -> Tensor:
    """Return a painting from a file as uint8 (1, 3, H, W) RGB, scaled to a shorter side of this many pixels.

    Raises:
        DataError: the file is missing or not a picture, or the picture is a narrow strip.
    """
    picture = Image.fromarray(read_picture(path, Limits(key="")))
    if max(picture.size) > MAX_ASPECT * min(picture.size):
        raise DataError(
            f"{path}: {picture.width}×{picture.height} pixels are a strip; crop a part with sides of a ratio below "
            f"{MAX_ASPECT}"
        )
    scale = shorter_side / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


@contextmanager
def setting_in_errors(key: str) -> Iterator[None]:
    """Run a block that reads a file; append the full key of the setting that names the file to a `DataError`.

    Raises:
        DataError: the error of the block, with the key.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; see {key}") from error


def channels_last(picture: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a picture (3, H, W) as an array (H, W, 3)."""
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = picture.permute(1, 2, 0).cpu().numpy()
    return array
