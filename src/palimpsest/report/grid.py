"""The README's picture: the same scenes under every task that one network has learned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from palimpsest.data.pictures import encoded
from palimpsest.errors import DataError
from palimpsest.storage.atomic import write_bytes

GAP = 4  # pixels of white between pictures


def write_grid(
    destination: Path, evaluation: Path, method: str, tasks: Sequence[str], rows: int, side: int
) -> None:
    """A row per sample: the input of the first task, then what the method gives for each task.

    ``evaluation`` is the folder of a seed, ``results/<preset>/evaluation/seed-<n>``. All tasks have to be learned
    from the same pictures, so that sample i is the same one in each. Pictures are scaled to ``side`` pixels.

    Raises:
        DataError: a sample is missing.
    """
    lines = []
    for row in range(rows):
        paths = [evaluation / "floor" / "samples" / tasks[0] / f"input-{row}.png"]
        paths += [evaluation / method / "samples" / task / f"after-{task}-{row}.png" for task in tasks]
        lines.append(joined([opened(path, side) for path in paths], axis=1))
    picture = Image.fromarray(joined(lines, axis=0))
    write_bytes(destination, encoded(picture, destination.suffix, optimize=True))


def opened(path: Path, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A sample as uint8 (side, side, 3)."""
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
    except OSError as error:
        raise DataError(f"{path}: no such sample; run the preset first ({error})") from error


def joined(
    pictures: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], axis: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Pictures side by side or one above the other, with a white gap."""
    gap = np.full_like(pictures[0].take(range(GAP), axis), 255)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis)
