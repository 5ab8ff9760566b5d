"""A trained task at work: photographs of any size in, pictures of the same size out.

What a task was trained on decides at which scale its network sees a photograph. Objects have to be as large as
they were in training for segmentation and colorization: the photograph is scaled, and the answer enlarged. A
style or a filter acts on the photograph's own pixels. Either way the U-Net runs in windows that overlap by
more than it can see, of which only the middle is kept: no seams, and no more memory for a larger picture than
its prediction takes. A residual network normalises by the whole picture and runs on all of it at once; what would
not fit into memory is refused.
"""

import math
import shlex
from collections.abc import Sequence
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
from palimpsest.devices import device_for
from palimpsest.errors import DataError, StorageError
from palimpsest.inference import Predictor
from palimpsest.methods import METHODS
from palimpsest.networks.base import Network
from palimpsest.settings import Settings
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks.base import Batch

WINDOW_BYTES = 3 * 2**28
"""Memory of one window. Including PyTorch, a photograph of 12 megapixels stays below 2 GB."""

LONGEST = 16
"""A photograph is enlarged for its task up to a longer side of so many times the size of training, no further:
else a strip of 1×20000 pixels became one of 80×1600000."""

BAND_VALUES = 2**22
"""Values of a prediction that are brought to full size at once."""


@dataclass(frozen=True)
class Translator:
    """A network that runs one task, on the device of the network."""

    predictor: Predictor
    size: int
    """Shorter side in training, in pixels."""
    window: int | None
    """Side of what the network sees at once, in pixels: a multiple of its stride, larger than twice its reach.
    None: the whole picture."""
    device: torch.device

    @property
    def network(self) -> Network:
        """Network that runs the task."""
        network = self.predictor.network
        assert isinstance(network, Network)
        return network

    @torch.inference_mode()
    def __call__(self, photograph: Pixels, name: Path | str = "the photograph") -> Pixels:
        """Uint8 (H, W, 3) RGB → uint8 (H, W, 3) RGB. ``name`` is what an error calls the photograph.

        Raises:
            DataError: the network has to see it whole, and memory does not do for that.
        """
        height, width = photograph.shape[:2]
        working = photograph
        if self.predictor.task.working_scale != "own":
            working = scaled(photograph, *working_size(height, width, self.size))
        if self.window is None and self.device.type == "cpu":  # PyTorch tells of a GPU's memory by itself
            expect_room(self.network, working, name)
        return self.finish(self.predict(working), photograph)

    def predict(self, photograph: Pixels) -> Tensor:
        """Return the task's prediction (1, C, H, W) on the CPU, for uint8 (H, W, 3) at the working scale."""
        height, width = photograph.shape[:2]
        padded = to_stride(photograph, self.network.stride)
        side, margin = self.window or max(padded.shape[:2]), self.network.reach or 0
        spans = [windows_of(length, side, margin) for length in padded.shape[:2]]
        places = list(product(*spans))
        whole: Tensor | None = None
        for rows, columns in tqdm(places, unit=" windows", disable=None if len(places) > 1 else True, leave=False):
            predicted = self.predictor.answer(self.batch(padded[rows.seen, columns.seen]))
            if whole is None:
                whole = torch.empty(1, predicted.shape[1], *padded.shape[:2])
            whole[:, :, rows.kept, columns.kept] = predicted[:, :, rows.kept_in_seen, columns.kept_in_seen]
        assert whole is not None
        return whole[:, :, :height, :width]

    def finish(self, prediction: Tensor, photograph: Pixels) -> Pixels:
        """Return a prediction (1, C, h, w) as a picture of the photograph's size: uint8 (H, W, 3).

        In bands of rows, since the scores of many classes at full size do not fit into memory.
        """
        height, width = photograph.shape[:2]
        tall = resampled(prediction, height, prediction.shape[3])
        band = max(1, BAND_VALUES // (prediction.shape[1] * width))
        picture = np.empty_like(photograph)
        for top in range(0, height, band):
            rows = slice(top, min(top + band, height))
            enlarged = resampled(tall[:, :, rows], rows.stop - rows.start, width).to(self.device)
            refined = self.predictor.task.refine(enlarged, self.batch(photograph[rows])["picture"])
            picture[rows] = self.predictor.task.paint(refined)[0]
        return picture

    def batch(self, photograph: Pixels) -> Batch:
        """Uint8 (H, W, 3) as a batch of one."""
        channels_first = np.ascontiguousarray(photograph.transpose(2, 0, 1))
        return {"picture": torch.from_numpy(channels_first)[None].to(self.device)}


@dataclass(frozen=True)
class Span:
    """One window along one side of a picture, in pixels."""

    seen: slice
    """Input of the network."""
    kept: slice
    """The part of it whose prediction is kept."""

    @property
    def kept_in_seen(self) -> slice:
        """The same part, counted from the start of the window."""
        return slice(self.kept.start - self.seen.start, self.kept.stop - self.seen.start)


def load(settings: Settings, seed: int, method: str, name: str) -> Translator:
    """Return the stored task as it was right after it was learned, with the settings it was trained with.

    Those are read from its file and not from `params.yaml`, which may have been edited since.

    Raises:
        StorageError: a file is missing (says what makes it), damaged, or of another base network.
        DataError: what the task is built from, as its painting, is missing.
    """
    stored = StoredTasks.of(settings, seed, method)
    for path in [stored.path(name), *([stored.task_files.base] if METHODS[method].adds_to_base else [])]:
        if not path.exists():
            raise StorageError(f"{path}: not trained yet; make it with: {command(settings, seed, method, path)}")
    opened = stored.file(name)
    task, network = opened.task(), opened.load().build()
    device = device_for(settings.training.accelerator)
    return Translator(
        Predictor(network.to(device), task.to(device)),
        size=opened.size,
        window=window_side(network),
        device=device,
    )


def command(settings: Settings, seed: int, method: str, path: Path) -> str:
    """Return the command that trains a stored task, independent of `params.yaml`."""
    config = [f"preset={settings.preset}"]
    if seed not in settings.seeds:
        config.append(f"seeds=[{seed}]")
    if method not in settings.methods:
        config.append(f"methods=[{method}]")
    return shlex.join(["snakemake", "--cores", "all", path.as_posix(), "--config", *config])


def output_paths(photographs: Sequence[Path], task: str, folder: Path) -> list[Path]:
    """``<stem>-<task>.png`` for each photograph; ``<stem>-2-<task>.png`` and so on where that is taken.

    Taken are the names of other results and of the photographs themselves: no result replaces either. Compared
    without regard to case, as some file systems do.
    """
    taken = {key(path) for path in photographs}
    chosen = []
    for photograph in photographs:
        path = folder / f"{photograph.stem}-{task}.png"
        number = 1
        while key(path) in taken:
            number += 1
            path = folder / f"{photograph.stem}-{number}-{task}.png"
        taken.add(key(path))
        chosen.append(path)
    return chosen


def key(path: Path) -> str:
    """Return the same for two names of one file."""
    return str(path.resolve()).casefold()


def working_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of a photograph whose shorter side is brought to ``size``, within `LONGEST`."""
    factor = size / min(height, width)
    if factor > 1:
        factor = min(factor, max(1, LONGEST * size / max(height, width)))
    return max(1, round(height * factor)), max(1, round(width * factor))


def scaled(photograph: Pixels, height: int, width: int) -> Pixels:
    """Return a photograph at another size, with the antialiased bicubic filter of the preparation."""
    if photograph.shape[:2] == (height, width):
        return photograph
    return np.array(Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC))


def resampled(prediction: Tensor, height: int, width: int) -> Tensor:
    """Float (N, C, h, w) → (N, C, height, width), bilinear, antialiased where it gets smaller."""
    if prediction.shape[2:] == (height, width):
        return prediction
    return F.interpolate(prediction, (height, width), mode="bilinear", align_corners=False, antialias=True)


def to_stride(photograph: Pixels, stride: int) -> Pixels:
    """Return a picture padded by reflection at the right and bottom to sides that suit a network of this stride.

    To no less than twice the stride: padding by reflection needs two pixels at the coarsest level. As often as
    needed: NumPy's `reflect` goes back and forth in a picture smaller than what it has to fill, and repeats a
    single pixel.
    """
    down, right = (max(2, math.ceil(side / stride)) * stride - side for side in photograph.shape[:2])
    return np.pad(photograph, ((0, down), (0, right), (0, 0)), mode="reflect")


def expect_room(network: Network, photograph: Pixels, name: Path | str) -> None:
    """Refuse a photograph, uint8 (H, W, 3) at the working scale, that the network cannot see whole.

    Raises:
        DataError: its size, what it would take, what is free, and what can be done.
    """
    height, width = photograph.shape[:2]
    per_pixel, free = network.bytes_per_pixel * network.width, free_memory()
    needed = height * width * per_pixel
    if needed > free:
        raise DataError(
            f"{name}: {width}×{height} pixels would take about {needed / 2**30:.1f} GiB of memory, of which "
            f"{free / 2**30:.1f} GiB are free: this network needs a photograph whole. Give a smaller one, of up "
            f"to {free / per_pixel / 1e6:.1f} megapixels, or choose a method on another network"
        )


def free_memory() -> int:
    """Bytes that the system can still give."""
    return int(psutil.virtual_memory().available)


def window_side(network: Network) -> int | None:
    """Return the side of windows of about `WINDOW_BYTES`; None for a network that cannot run in windows."""
    if network.reach is None:
        return None
    stride = network.stride
    side = math.isqrt(WINDOW_BYTES // (network.bytes_per_pixel * network.width)) // stride * stride
    return max(2 * network.reach + 4 * stride, side)


def windows_of(length: int, side: int, margin: int) -> list[Span]:
    """Windows along a length, both multiples of the network's stride: what they keep covers it once.

    Around what is kept lies the margin, or the border of the picture. All windows are equally long, since CPU
    libraries keep buffers for every size that they have met.
    """
    side = min(side, length)
    steps = math.ceil((length - side) / (side - 2 * margin)) if length > side else 0
    starts = [min(step * (side - 2 * margin), length - side) for step in range(steps + 1)]
    cuts = [0, *(start + margin for start in starts[1:]), length]
    return [
        Span(slice(start, start + side), slice(first, end))
        for start, first, end in zip(starts, cuts, cuts[1:], strict=False)
    ]
