"""The task kind `style`: a photograph, painted in the manner of one painting."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from palimpsest.errors import DataError
from palimpsest.metrics.perceptual import content_loss, gram_matrix, style_loss, total_variation
from palimpsest.metrics.pictures import ssim
from palimpsest.networks.perceptual import PERCEPTUAL_NETWORKS
from palimpsest.settings import StyleSettings
from palimpsest.tasks.base import Batch, Meter, Pixels, Task, to_pixels, unit


class StyleTask(Task):
    """Photographs in the style of one painting; there is no truth, only what a perceptual network sees.

    total_loss = content_weight · content + style_weight · style + tv_weight · total variation, every part relative
    and averaged over pictures (see `palimpsest.metrics.perceptual`).
    """

    def __init__(self, name: str, settings: StyleSettings) -> None:
        """Read the painting and what its strokes and colours look like to the perceptual network.

        Raises:
            DataError: the painting or the weights file is missing, unreadable or of another kind.
        """
        super().__init__(name, settings)
        self.head_channels = 3
        self.content_weight = settings.content_weight
        self.style_weight = settings.style_weight
        self.tv_weight = settings.tv_weight
        self.perceptual = PERCEPTUAL_NETWORKS[settings.perceptual](settings.weights)
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

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """The painted photograph: (N, 3, H, W), float32 in [0, 1]."""
        return output.float().sigmoid()

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``loss`` and its three weighted parts, which sum to it; each the mean over the batch's pictures."""
        parts = {name: values.mean() for name, values in self.parts(prediction, unit(batch["picture"])).items()}
        return {"loss": sum_of(parts.values()), **parts}

    def parts(self, prediction: Tensor, photograph: Tensor) -> dict[str, Tensor]:
        """The weighted parts of the loss for each picture: (N, 3, H, W) in [0, 1], twice → (N,) by name."""
        with torch.no_grad():
            targets = self.perceptual.content(photograph)
        features = self.perceptual(prediction)
        return {
            "content_loss": self.content_weight * content_loss(features.content, targets),
            "style_loss": self.style_weight * style_loss(features.style, self.grams),
            "tv_loss": self.tv_weight * total_variation(prediction),
        }

    def meter(self) -> Meter:
        """Total loss, its parts, and SSIM to the photograph: means over the split's pictures."""
        return StyleMeter(self)

    def floor(self, training_targets: Pixels | None) -> Callable[[Batch], Tensor]:
        """The photograph itself."""
        return lambda batch: unit(batch["picture"])

    def paint(self, prediction: Tensor) -> Pixels:
        """The painted photograph, uint8 (N, H, W, 3)."""
        return to_pixels(prediction)

    def paint_target(self, batch: Batch) -> Pixels:
        """The photograph itself."""
        return to_pixels(unit(batch["picture"]))


class StyleMeter:
    """Gathers one value per picture and metric, so that means do not depend on the batches."""

    def __init__(self, task: StyleTask) -> None:
        self.task = task
        self.values: dict[str, list[float]] = {}

    @torch.no_grad()
    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add one batch; in float32, so that reported losses do not depend on how training is sped up."""
        photograph = unit(batch["picture"])
        with torch.autocast(prediction.device.type, enabled=False):
            parts = self.task.parts(prediction.float(), photograph)
        parts = {"total_loss": sum_of(parts.values()), **parts}
        for name, values in parts.items():
            self.values.setdefault(name, []).extend(values.tolist())
        self.values.setdefault("ssim", []).extend(
            ssim(channels_last(painted), channels_last(original))
            for painted, original in zip(prediction.float(), photograph, strict=True)
        )

    def compute(self) -> dict[str, float]:
        """``total_loss``, ``content_loss``, ``style_loss``, ``tv_loss`` and ``ssim``."""
        return {name: float(np.mean(values)) for name, values in self.values.items()}


def read_painting(path: Path, shorter_side: int) -> Tensor:
    """A painting as uint8 (1, 3, H, W) RGB, scaled so that its shorter side has that many pixels.

    Raises:
        DataError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: no such style picture") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable style picture: {error}") from error
    scale = shorter_side / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def channels_last(picture: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(3, H, W) → (H, W, 3) in memory of the CPU."""
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = picture.permute(1, 2, 0).cpu().numpy()
    return array


def sum_of(values: Iterable[Tensor]) -> Tensor:
    """Σ, as a tensor."""
    return torch.stack(list(values)).sum(0)
