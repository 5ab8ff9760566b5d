"""Translation of photographs of any size by a trained task; the result has the size of the photograph.

Segmentation and colorization need objects as large as in training: the photograph is scaled for the network, and
the prediction is scaled back. A style or a filter runs on the original pixels. The U-Net runs in overlapping
windows, and only the core of each window is used. The overlap exceeds the receptive field, so the result has no
seams, and memory grows only with the prediction. A residual network normalises over the whole picture and needs it
in one pass. A picture that does not fit into memory, at the size at which the task works, is refused.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from palimpsest.data.pictures import Pixels
from palimpsest.data.voc import palette
from palimpsest.errors import DataError
from palimpsest.inference import Predictor
from palimpsest.networks.base import Network
from palimpsest.tasks.base import Batch, Task

WINDOW_BYTES = 3 * 2**28
"""Memory of one window. A photograph of 12 megapixels then takes less than 2 GB in total, with PyTorch."""

MAX_ENLARGED = 16
"""Limit of the longer side of an enlarged photograph, in multiples of the size in training. Without it a strip of
1×20000 pixels would become one of 80×1600000."""

BYTES_STORED = 10
"""Bytes per pixel of a picture at the working scale: its copies by Pillow and NumPy, resized and padded."""

BAND_VALUES = 2**22
"""Number of values of a prediction that are resized to full size at a time."""


@dataclass(frozen=True)
class Translator:
    """One trained task that translates photographs: network, postprocessing and sizes."""

    predictor: Predictor
    size: int
    """Shorter side in training, in pixels."""
    window: int | None
    """Side of the windows in pixels: a multiple of the stride, larger than twice the network's reach. None for the
    whole picture."""
    device: torch.device

    @property
    def network(self) -> Network:
        """Network of the task."""
        network = self.predictor.network
        assert isinstance(network, Network)
        return network

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes in the order of their labels; empty for a task without classes."""
        return self.predictor.task.classes or ()

    @torch.inference_mode()
    def __call__(self, photograph: Pixels, name: Path | str = "the photograph") -> Pixels:
        """Return the translation of a photograph, uint8 (H, W, 3) RGB, as a picture of the same shape and type.

        ``name`` names the photograph in errors.

        Raises:
            DataError: the free memory does not suffice.
        """
        return self.finish(self.predict_whole(photograph, name), photograph, self.predictor.task.paint)

    @torch.inference_mode()
    def image(self, photograph: Pixels, name: Path | str = "the photograph") -> Image.Image:
        """Return the translation of a photograph as a picture of Pillow of its size.

        For a task with classes the picture has mode ``P``: its values are the labels, and its palette has the
        colours of the classes. Arguments and errors are those of `__call__`.
        """
        task = self.predictor.task
        if task.classes is None:
            return Image.fromarray(self(photograph, name))
        labels = Image.fromarray(self.finish(self.predict_whole(photograph, name), photograph, task.labels))
        labels.putpalette(palette().tobytes())
        return labels

    def predict_whole(self, photograph: Pixels, name: Path | str) -> Tensor:
        """Return the prediction, float (1, C, h, w), for a photograph at the size at which the task works.

        Raises:
            DataError: the free memory does not suffice.
        """
        size = None if self.predictor.task.working_scale == "own" else self.size
        return self.predict(self.scaled(photograph, size, name))

    def scaled(self, photograph: Pixels, size: int | None, name: Path | str) -> Pixels:
        """Return a photograph, uint8 (H, W, 3), scaled so that its shorter side is ``size``; None for its own size.

        Raises:
            DataError: the free memory does not suffice to translate it.
        """
        height, width = photograph.shape[:2]
        if size is not None:
            height, width = working_size(height, width, size)
        self.check_memory(height, width, size, name)
        return resized(photograph, height, width)

    def check_memory(self, height: int, width: int, size: int | None, name: Path | str) -> None:
        """Check that the memory suffices for a picture of so many pixels at the working scale.

        ``size`` is that to which the picture ``name`` is scaled, None for its own size; both are for the message.

        Raises:
            DataError: the free memory does not suffice.
        """
        needed, free = self.memory(height, width), free_memory()
        if needed <= free:
            return
        advice = f"a task of smaller pictures than {size} pixels"
        if size is None:
            advice = f"a picture of up to {self.megapixels(free):.1f} megapixels"
            if self.window is None:
                advice += ", or a method on a network that runs in windows"
        raise DataError(
            f"{name}: {width}×{height} pixels need about {needed / 2**30:.1f} GiB of memory, but "
            f"{free / 2**30:.1f} GiB are free; use {advice}"
        )

    def memory(self, height: int, width: int) -> int:
        """Return the number of bytes that the translation of so many pixels takes, without the photograph.

        On a GPU these are the bytes of the computer's memory; PyTorch raises its own error for that of the GPU.
        """
        pixels = height * width
        if self.device.type != "cpu":
            return pixels * self.bytes_stored
        at_once = pixels if self.window is None else min(pixels, self.window**2)
        return pixels * self.bytes_stored + at_once * self.network.bytes_per_pixel * self.network.width

    def megapixels(self, memory: int) -> float:
        """Return the number of 10⁶ pixels whose translation takes so many bytes of memory."""
        passing = self.network.bytes_per_pixel * self.network.width if self.device.type == "cpu" else 0
        if self.window is None or memory < self.window**2 * (passing + self.bytes_stored):
            return memory / (passing + self.bytes_stored) / 1e6
        return (memory - self.window**2 * passing) / self.bytes_stored / 1e6

    @property
    def bytes_stored(self) -> int:
        """Bytes per pixel at the working scale of picture and prediction, which are in memory whole."""
        return BYTES_STORED + 4 * max(3, self.predictor.task.head_channels)

    def predict(self, photograph: Pixels) -> Tensor:
        """Return the task's prediction, float (1, C, H, W) on the CPU, for a photograph at the working scale.

        The photograph, uint8 (H, W, 3), is padded to the stride and runs window by window; the padding is cut off
        again.
        """
        height, width = photograph.shape[:2]
        padded = padded_to_stride(photograph, self.network.stride)
        side, margin = self.window or max(padded.shape[:2]), self.network.reach or 0
        spans = [windows_of(length, side, margin) for length in padded.shape[:2]]
        windows = list(product(*spans))
        whole: Tensor | None = None
        for rows, columns in tqdm(
            windows, unit=" windows", disable=None if len(windows) > 1 else True, leave=False
        ):
            predicted = self.predictor.predict(self.batch(padded[rows.window, columns.window]))
            if whole is None:
                whole = torch.empty(1, predicted.shape[1], *padded.shape[:2])
            whole[:, :, rows.core, columns.core] = predicted[:, :, rows.core_in_window, columns.core_in_window]
        assert whole is not None
        return whole[:, :, :height, :width]

    def finish(self, prediction: Tensor, photograph: Pixels, render: Callable[[Tensor], Pixels]) -> Pixels:
        """Return a prediction (1, C, h, w) as a picture of the photograph's size, uint8 (H, W, 3) or (H, W).

        ``photograph`` is the original, whose details `Task.refine` can use; ``render`` returns the picture of
        refined predictions, as `Task.paint` and `Task.labels` do. The picture is made in bands of rows, since the
        scores of many classes at full size do not fit into memory.
        """
        height, width = photograph.shape[:2]
        tall = resampled(prediction, height, prediction.shape[3])
        band = max(1, BAND_VALUES // (prediction.shape[1] * width))
        bands = []
        for top in range(0, height, band):
            rows = slice(top, min(top + band, height))
            enlarged = resampled(tall[:, :, rows], rows.stop - rows.start, width).to(self.device)
            refined = self.predictor.task.refine(enlarged, self.batch(photograph[rows])["picture"])
            bands.append(render(refined)[0])
        return np.concatenate(bands)

    def batch(self, photograph: Pixels) -> Batch:
        """Return a photograph, uint8 (H, W, 3), as a batch of one picture on the device."""
        channels_first = np.ascontiguousarray(photograph.transpose(2, 0, 1))
        return {"picture": torch.from_numpy(channels_first)[None].to(self.device)}


@dataclass(frozen=True)
class Span:
    """One window along one axis of a picture, as ranges of pixels."""

    window: slice
    """Input of the network."""
    core: slice
    """Part of the window whose prediction is used."""

    @property
    def core_in_window(self) -> slice:
        """Range of the core, counted from the start of the window."""
        return slice(self.core.start - self.window.start, self.core.stop - self.window.start)


def translator_of(network: Network, task: Task, size: int, device: torch.device) -> Translator:
    """Return the translator of a network with the weights of a task, which was trained at this size in pixels."""
    predictor = Predictor(network.to(device), task.to(device))
    return Translator(predictor, size=size, window=window_side(network), device=device)


def working_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the (height, width) to which a photograph is scaled, so that its shorter side is ``size`` pixels.

    A long strip is enlarged less, see `MAX_ENLARGED`.
    """
    factor = size / min(height, width)
    if factor > 1:
        factor = min(factor, max(1, MAX_ENLARGED * size / max(height, width)))
    return max(1, round(height * factor)), max(1, round(width * factor))


def resized(photograph: Pixels, height: int, width: int) -> Pixels:
    """Return a photograph, uint8 (H, W, 3), resized with the antialiased bicubic filter of the preparation."""
    if photograph.shape[:2] == (height, width):
        return photograph
    return np.array(Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC))


def resampled(prediction: Tensor, height: int, width: int) -> Tensor:
    """Return a prediction, float (N, C, h, w), resized to height and width: bilinear, antialiased if it shrinks."""
    if prediction.shape[2:] == (height, width):
        return prediction
    return F.interpolate(prediction, (height, width), mode="bilinear", align_corners=False, antialias=True)


def padded_to_stride(photograph: Pixels, stride: int) -> Pixels:
    """Return a picture padded at the right and bottom, by reflection, to sides that are multiples of the stride.

    Each side is at least twice the stride, since padding by reflection inside the network needs two pixels at the
    coarsest level. NumPy reflects repeatedly if the padding is larger than the picture.
    """
    down, right = (max(2, math.ceil(side / stride)) * stride - side for side in photograph.shape[:2])
    return np.pad(photograph, ((0, down), (0, right), (0, 0)), mode="reflect")


def free_memory() -> int:
    """Return the number of bytes of memory that are available."""
    return int(psutil.virtual_memory().available)


def window_side(network: Network) -> int | None:
    """Return the side in pixels of windows that take about `WINDOW_BYTES`, a multiple of the stride.

    None for a network that cannot run in windows.
    """
    if network.reach is None:
        return None
    stride = network.stride
    side = math.isqrt(WINDOW_BYTES // (network.bytes_per_pixel * network.width)) // stride * stride
    return max(2 * network.reach + 4 * stride, side)


def windows_of(length: int, side: int, margin: int) -> list[Span]:
    """Return the windows along one axis of a picture; their cores cover the axis once.

    ``length`` is that of the axis, ``side`` that of a window, both multiples of the stride in pixels. A core has at
    least ``margin`` pixels of its window on either side, except at the border of the picture. All windows have one
    length, since CPU libraries keep buffers for every size of input.
    """
    side = min(side, length)
    steps = math.ceil((length - side) / (side - 2 * margin)) if length > side else 0
    starts = [min(step * (side - 2 * margin), length - side) for step in range(steps + 1)]
    borders = [0, *(start + margin for start in starts[1:]), length]
    return [
        Span(slice(start, start + side), slice(core_start, core_end))
        for start, core_start, core_end in zip(starts, borders, borders[1:], strict=False)
    ]
