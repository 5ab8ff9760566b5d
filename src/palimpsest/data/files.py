"""The files below a folder as a data set counts them: each real file once, however many links lead to it.

A file that lies in the folder itself is listed before a link to it; of several links the one behind the fewest
links, then the one nearest to the folder, then the first by path stays. A link back to a folder above is not
followed. Adding links to files that are listed already therefore changes nothing.
"""

import hashlib
import heapq
import os
from collections.abc import Iterable
from pathlib import Path

from palimpsest.errors import DataError

JUNK_FOLDERS = frozenset(
    {"@eadir", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found", "system volume information"}
)
"""Folders of network drives, disks and archives. `@eaDir` holds a thumbnail of every picture beside it, the
recycle bins hold deleted pictures."""

Place = tuple[int, int, str]
"""Links that lead to a path, its depth, and the path: the order in which copies of one file are preferred."""


def files_below(root: Path, once: bool = True) -> list[Path]:
    """Return the regular files below ``root`` and the links that lead nowhere, sorted by path.

    With ``once`` a real file has one name, otherwise all its names in the folders, each of which is entered once.

    Hidden files and folders, `JUNK_FOLDERS` and what is no regular file (FIFO, socket, device) are passed over. A
    dangling link is listed: a file is missing, and the reader of the data set reports it.

    Raises:
        DataError: ``root`` is not a folder, or a folder cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    files: list[tuple[Place, str]] = []  # with the real path
    real_root = os.path.realpath(root)
    seen: set[str] = set()
    # A folder's real path, and the real paths of the folders on the way to it.
    waiting: list[tuple[Place, str, tuple[str, ...]]] = [((0, 0, str(root)), real_root, ())]
    while waiting:
        (links, depth, path), real, above = heapq.heappop(waiting)
        if real in seen:
            continue
        seen.add(real)
        for entry in entries_of(path):
            if entry.name.startswith("."):
                continue
            linked = entry.is_symlink()
            place = (links + linked, depth + 1, entry.path)
            target = os.path.realpath(entry.path) if linked else os.path.join(real, entry.name)  # noqa: PTH118
            if is_folder(entry):
                way = (*above, real)
                if entry.name.lower() not in JUNK_FOLDERS and not (linked and _is_above(target, way)):
                    heapq.heappush(waiting, (place, target, way))
            elif os.path.isfile(target) or (linked and not os.path.exists(target)):  # noqa: PTH110, PTH113
                files.append((place, target))
    kept: dict[str, str] = {}
    for (_, _, path), real in sorted(files):
        kept.setdefault(real if once else path, path)
    return sorted(map(Path, kept.values()))


def entries_of(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, which know their kind without another look at the disk.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(str(folder)) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"{folder}: the folder cannot be read ({error.strerror}); grant access or move it away"
        ) from error


def real_paths(paths: Iterable[Path]) -> list[str]:
    """Return the real path of each file, with a look at every folder only once."""
    folders: dict[str, str] = {}
    found = []
    for path in paths:
        if path.name in ("", "..") or path.is_symlink():
            found.append(os.path.realpath(path))
            continue
        folder = str(path.parent)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        found.append(os.path.join(folders[folder], path.name))  # noqa: PTH118 (10 times faster)
    return found


def digest_of(path: Path) -> tuple[int, str] | None:
    """Return the bytes of a file and their SHA-256, None for what cannot be read or is no regular file."""
    try:
        if not path.is_file():  # a FIFO would be waited for
            return None
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            return content.tell(), digest
    except OSError:
        return None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_above(folder: str, way: tuple[str, ...]) -> bool:
    """Return whether a folder is one of those on the way, or lies above one of them."""
    return any(place == folder or place.startswith(folder.rstrip(os.sep) + os.sep) for place in way)
