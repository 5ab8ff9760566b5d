"""Grids of pictures, such as the README's grid of scenes and their translations."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from palimpsest.data.encoding import encoded
from palimpsest.errors import DataError
from palimpsest.layout import making_command
from palimpsest.storage.atomic import write_bytes

GAP = 4  # pixels of white between pictures
LINE = 14  # height of a title in pixels

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def write_grid(
    destination: Path, evaluation: Path, method: str, tasks: Sequence[str], rows: int, side: int
) -> None:
    """Write a grid of pictures to ``destination``: a row per sample, a column of inputs and one per task's outputs.

    Inputs are those of the first task. ``evaluation`` is the folder ``results/<preset>/evaluation/seed-<n>``. All
    tasks have to use the same pictures; otherwise sample i differs between tasks. Pictures are scaled to ``side`` ×
    ``side`` pixels.

    Raises:
        DataError: a sample is missing or damaged.
    """
    lines = []
    for row in range(rows):
        paths = [evaluation / "floor" / "samples" / tasks[0] / f"input-{row}.png"]
        paths += [evaluation / method / "samples" / task / f"after-{task}-{row}.png" for task in tasks]
        lines.append(join([read_sample(path, side) for path in paths], axis=1))
    picture = Image.fromarray(join(lines, axis=0))
    write_bytes(destination, encoded(picture, destination.suffix, optimize=True))


def titled_columns(columns: Sequence[tuple[str, Pixels]], side: int) -> Pixels:
    """Return one picture, uint8 (h, w, 3), with a column of pictures below each title.

    The pictures of a column are uint8 (N, H, W, 3); each is scaled to ``side`` × ``side`` pixels.
    """
    blocks = []
    for title, pictures in columns:
        line = Image.new("RGB", (side, LINE), "white")
        ImageDraw.Draw(line).text((0, 0), title, "black", font_size=LINE - 3)
        blocks.append(join([np.array(line), *(scaled(Image.fromarray(p), side) for p in pictures)], axis=0))
    return join(blocks, axis=1)


def read_sample(path: Path, side: int) -> Pixels:
    """Return the picture in a file, scaled to uint8 (side, side, 3).

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with Image.open(path) as picture:
            return scaled(picture.convert("RGB"), side)
    except OSError as error:
        samples = path.parents[1]  # Snakemake does not look into the folder, which is one output
        raise DataError(
            f"{path}: sample is missing or damaged ({error}); delete the folder {samples} and run "
            f"`{making_command(samples)}`"
        ) from error


def scaled(picture: Image.Image, side: int) -> Pixels:
    """Return a picture scaled to uint8 (side, side, 3)."""
    return np.array(picture.resize((side, side), Image.Resampling.LANCZOS))


def join(pictures: Sequence[Pixels], axis: int) -> Pixels:
    """Return pictures (H, W, 3) joined along an axis, with a white gap between neighbours."""
    gap = np.full_like(pictures[0].take(range(GAP), axis), 255)
    arrays = [array for picture in pictures for array in (gap, picture)][1:]
    return np.concatenate(arrays, axis)
