"""Paths of the pictures to translate and of the results."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from palimpsest.data.pictures import list_pictures
from palimpsest.errors import DataError

OVERLAY = "-overlay"
"""End of the name, without suffix, of a picture with the classes over it."""
LONGEST_NAME = 255 - len(OVERLAY) - len("..part")
"""Largest number of bytes in the name of a result: file systems allow 255, also for the overlay and for the name
under which a file is first written."""


def expand(names: Iterable[str]) -> tuple[list[Path], list[DataError]]:
    """Return the pictures that paths, folders and patterns such as ``holiday/*.jpg`` name, in their order.

    A folder stands for all pictures in it and below. An existing path is no pattern. The second list has an error
    for each folder without pictures or that cannot be read, and for each pattern without a match.
    """
    pictures: list[Path] = []
    problems: list[DataError] = []
    for name in names:
        try:
            pictures += pictures_of(name)
        except DataError as error:
            problems.append(error)
    return pictures, problems


def pictures_of(name: str) -> list[Path]:
    """Return the pictures that a path, folder or pattern names; a path is returned also if no such file exists.

    Raises:
        DataError: a folder has no picture or cannot be read, or a pattern has no match.
    """
    path = Path(name)
    if os.path.isdir(name):  # noqa: PTH112 (Path.is_dir raises errors, as for names that are too long)
        below = list_pictures(path)
        if not below:
            raise DataError(f"{name}: the folder has no picture; name another folder, or pictures")
        return below
    if not glob.has_magic(name) or os.path.exists(name):  # noqa: PTH110
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 (absolute too)
    if not matches:
        raise DataError(f"{name}: no picture matches the pattern; correct it")
    return [match for match in matches if match.is_file()]


def output_paths(photographs: Sequence[Path], task: str, folder: Path) -> list[Path]:
    """Return a path in ``folder`` for the translation of each photograph, in their order.

    The name is ``<stem>-<task>.png``, or ``<stem>-2-<task>.png`` and so on if an earlier name is used already. A
    stem is shortened if the name would be too long.

    No path is that of another result or of a photograph. Names are compared without case, as some file systems do.
    """
    used = {comparison_key(path) for path in photographs}
    paths = []
    for photograph in photographs:
        path = folder / named(photograph.stem, f"-{task}.png")
        number = 1
        while used & {comparison_key(path), comparison_key(overlay_path(path))}:
            number += 1
            path = folder / named(photograph.stem, f"-{number}-{task}.png")
        used |= {comparison_key(path), comparison_key(overlay_path(path))}
        paths.append(path)
    return paths


def named(stem: str, end: str) -> str:
    """Return the name of a result, whose stem is shortened if the name exceeds `LONGEST_NAME`."""
    content, room = os.fsencode(stem), LONGEST_NAME - len(os.fsencode(end))
    return f"{stem if len(content) <= room else content[:room].decode('utf-8', 'ignore')}{end}"


def overlay_path(path: Path) -> Path:
    """Return the path of the overlay beside a result."""
    return path.with_stem(f"{path.stem}{OVERLAY}")


def comparison_key(path: Path) -> str:
    """Return a text that is equal for all paths of one file, also where the file system ignores case."""
    return os.path.realpath(path).casefold()  # Path.resolve raises an error for a link to itself


def refuse_existing(paths: Iterable[Path]) -> None:
    """Check that no file has one of these paths.

    Raises:
        DataError: a file exists; the message names the first one and the number of the others.
    """
    existing = [path for path in paths if os.path.exists(path)]  # noqa: PTH110 (as in `pictures_of`)
    if existing:
        others = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise DataError(f"{existing[0]}{others}: exists; name another folder, or overwrite with --force")
