"""A trained task at work: photographs of any size in, pictures of the same size out.

What a task was trained on decides at which scale its network sees a photograph. Objects have to be as large as
they were in training for segmentation and colorization: the photograph is scaled, and the answer enlarged. A
style or a filter acts on the photograph's own pixels. Either way the network runs in windows that overlap by
more than it can see, of which only the middle is kept: no seams, and memory does not grow with the picture.
"""

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from palimpsest.analysis.forgetting import Predictor
from palimpsest.data.pictures import Pixels
from palimpsest.errors import StorageError
from palimpsest.methods import METHODS
from palimpsest.settings import Lesson, Settings
from palimpsest.storage.atomic import replacing
from palimpsest.storage.recall import StoredTasks
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Batch

STRIDE = 16
"""Sides of what the network sees are multiples of this."""

SMALLEST = 2 * STRIDE
"""The least side the network can see: padding by reflection needs two pixels at the coarsest level."""

MARGIN = 96
"""How far outside a window that starts on the grid of `STRIDE` the network can look, in pixels.

For the U-Net 94: two 3×3 convolutions at each of the scales 1, 2, 4, 8, 16, 8, 4, 2, 1 and poolings between.
"""

WINDOW_BYTES = 2**30
BYTES_PER_PIXEL = 36
"""The U-Net's peak memory per pixel of a window and channel of its first stage; measured: 33 to 39."""

LONGEST = 16
"""A photograph is enlarged for its task up to a longer side of so many times the size of training, no further:
else a strip of 1×20000 pixels became one of 80×1600000."""

BAND_VALUES = 2**24
"""Values of a prediction that are brought to full size at once."""


@dataclass(frozen=True)
class Translator:
    """A network that runs one task, on the device of the network."""

    predictor: Predictor
    size: int
    """Shorter side in training, in pixels."""
    tile: int
    """Side of a window's middle, the part that is kept; a multiple of `STRIDE`."""
    device: torch.device

    @torch.inference_mode()
    def __call__(self, photograph: Pixels) -> Pixels:
        """Uint8 (H, W, 3) RGB → uint8 (H, W, 3) RGB."""
        task = self.predictor.task
        height, width = photograph.shape[:2]
        if task.working_scale == "own":
            return self.finish(self.predict(photograph), photograph)
        working = scaled(photograph, *working_size(height, width, self.size))
        return self.finish(self.predict(working), photograph)

    def predict(self, photograph: Pixels) -> Tensor:
        """The task's prediction (1, C, H, W) on the CPU, for uint8 (H, W, 3) at the working scale."""
        height, width = photograph.shape[:2]
        padded = to_stride(photograph)
        rows, columns = padded.shape[:2]
        tiles = list(tiles_of(rows, columns, self.tile))
        whole: Tensor | None = None
        for tile in tqdm(tiles, unit=" tiles", disable=None if len(tiles) > 1 else True, leave=False):
            seen = tile.with_margin(rows, columns)
            predicted = self.predictor(self.batch(padded[seen.rows, seen.columns]))
            middle = predicted[:, :, tile.rows_in(seen), tile.columns_in(seen)]
            if whole is None:
                whole = torch.empty(1, predicted.shape[1], rows, columns)
            whole[:, :, tile.rows, tile.columns] = middle
        assert whole is not None
        return whole[:, :, :height, :width]

    def finish(self, prediction: Tensor, photograph: Pixels) -> Pixels:
        """A prediction (1, C, h, w) as a picture of the photograph's size: uint8 (H, W, 3).

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
class Tile:
    """A rectangle of a picture, in pixels."""

    rows: slice
    columns: slice

    def with_margin(self, height: int, width: int) -> "Tile":
        """The same with all around that the network can see, up to the border of a picture of this size."""
        return Tile(widened(self.rows, height), widened(self.columns, width))

    def rows_in(self, window: "Tile") -> slice:
        """The rows of this tile, counted from the top of a window."""
        return slice(self.rows.start - window.rows.start, self.rows.stop - window.rows.start)

    def columns_in(self, window: "Tile") -> slice:
        """The columns of this tile, counted from the left of a window."""
        return slice(self.columns.start - window.columns.start, self.columns.stop - window.columns.start)


def load(settings: Settings, seed: int, method: str, name: str) -> Translator:
    """The stored task as it was right after it was learned, with the settings it was trained with.

    Those are read from its file and not from `params.yaml`, which may have been edited since.

    Raises:
        StorageError: a file is missing (says what makes it), damaged, or of another base network.
        DataError: what the task is built from, as its painting, is missing.
    """
    stored = StoredTasks.of(settings, seed, method)
    needed = [name] if METHODS[method].starts_from != "base" else [name, settings.base_task]
    for path in map(stored.path, needed):
        if not path.exists():
            raise StorageError(f"{path}: not trained yet; make it with: {command(settings, seed, method, path)}")
    file = stored.file(name)
    try:
        lesson = Lesson.model_validate(file.provenance.settings)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise StorageError(
            f"{file.path}: stored with settings of another version ({where}: {problem['msg']}); "
            f"delete it and train again with: {command(settings, seed, method, file.path)}"
        ) from error
    task = build_task(name, lesson.task)
    network = replace(stored, network_settings=lesson.network).network(task)
    device = torch.device("cuda" if settings.training.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    return Translator(
        Predictor(network.to(device), task.to(device)),
        size=lesson.pictures.size,
        tile=tile_side(lesson.network.width),
        device=device,
    )


def command(settings: Settings, seed: int, method: str, path: Path) -> str:
    """What to type to have a stored task trained, whatever `params.yaml` says."""
    config = [f"preset={settings.preset}"]
    if seed not in settings.seeds:
        config.append(f"seeds=[{seed}]")
    if method not in settings.methods:
        config.append(f"methods=[{method}]")
    return shlex.join(["snakemake", "--cores", "all", path.as_posix(), "--config", *config])


def write(path: Path, picture: Pixels) -> None:
    """Write uint8 (H, W, 3) as PNG, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


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
    """The same for two names of one file."""
    return str(path.resolve()).casefold()


def working_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of a photograph whose shorter side is brought to ``size``, within `LONGEST`."""
    factor = size / min(height, width)
    if factor > 1:
        factor = min(factor, max(1, LONGEST * size / max(height, width)))
    return max(1, round(height * factor)), max(1, round(width * factor))


def scaled(photograph: Pixels, height: int, width: int) -> Pixels:
    """A photograph at another size, by the antialiased bicubic filter with which training data are prepared."""
    if photograph.shape[:2] == (height, width):
        return photograph
    return np.array(Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC))


def resampled(prediction: Tensor, height: int, width: int) -> Tensor:
    """Float (N, C, h, w) → (N, C, height, width), bilinear, antialiased where it gets smaller."""
    if prediction.shape[2:] == (height, width):
        return prediction
    return F.interpolate(prediction, (height, width), mode="bilinear", align_corners=False, antialias=True)


def to_stride(photograph: Pixels) -> Pixels:
    """A picture continued by reflection at its right and lower border to what the network can take.

    As often as needed: NumPy's `reflect` goes back and forth in a picture smaller than what it has to fill, and
    repeats a single pixel.
    """
    down, right = (max(SMALLEST, math.ceil(side / STRIDE) * STRIDE) - side for side in photograph.shape[:2])
    return np.pad(photograph, ((0, down), (0, right), (0, 0)), mode="reflect")


def tile_side(width: int) -> int:
    """The side of tiles whose windows take about `WINDOW_BYTES` in a network of this width."""
    window = math.isqrt(WINDOW_BYTES // (BYTES_PER_PIXEL * width))
    return max(4 * STRIDE, (window - 2 * MARGIN) // STRIDE * STRIDE)


def tiles_of(height: int, width: int, side: int) -> Iterator[Tile]:
    """Tiles of at most this side that cover a picture once."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Tile(slice(top, min(top + side, height)), slice(left, min(left + side, width)))


def widened(span: slice, length: int) -> slice:
    """A span with `MARGIN` on both sides, within ``length``."""
    return slice(max(0, span.start - MARGIN), min(length, span.stop + MARGIN))
