"""Files and folders that are there as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palimpsest.errors import PalimpsestError, StorageError, no_space, unwritten


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What is written in this block goes to ``path``: an error of it names the file, as few do by themselves.

    Raises:
        StorageError: the file cannot be written, as with no space left.
    """
    try:
        yield
    except PalimpsestError:
        raise
    except Exception as error:
        if isinstance(error, OSError) or no_space(error):  # libraries make others of the system's errors
            raise StorageError(unwritten(path, error)) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; put in place, flushed to the disk, when the block ends well.

    Raises:
        StorageError: the file cannot be written, as with no space left; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)  # from a run that was killed
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):  # where not even the folder could be made
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside ``folder`` to fill; put in its place when the block ends well.

    What stood there before stays until then.

    Raises:
        StorageError: it cannot be filled, as with no space left; nothing is left behind.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # from a run that was killed
    try:
        with writing(folder):
            partial.mkdir(parents=True)
            yield partial
            replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_folder(new: Path, place: Path) -> None:
    """Put a finished folder in its place beside it; what was there goes."""
    old = place.with_name(f"{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
