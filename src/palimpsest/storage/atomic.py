"""Files and folders that are there as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palimpsest.errors import DataError, PalimpsestError, StorageError, no_space, unwritten


@contextmanager
def writing(path: Path, partial: Path | None = None) -> Iterator[None]:
    """What is written in this block goes to ``path``: an error of it names the file, as few do by themselves.

    ``partial`` is the name that the file or folder has until it is finished.

    Raises:
        StorageError: the file cannot be written, as with no space left.
        DataError: another file, from which it is made, cannot be read.
    """
    try:
        yield
    except PalimpsestError:
        raise
    except Exception as error:
        if no_space(error):  # libraries make others of the system's errors
            raise StorageError(unwritten(path, error)) from error
        if not isinstance(error, OSError):
            raise
        source = other_file(error, path, partial or path)
        if source is not None:
            raise DataError(unwritten(source, error, "read")) from error
        raise StorageError(unwritten(path, error)) from error


def other_file(error: OSError, *written: Path) -> Path | None:
    """The file that an error is about, if it is none of these: not what is in them, nor a folder around them."""
    named = error.filename if error.filename2 is None else error.filename2  # of two the second is written
    if not isinstance(named, str | os.PathLike):
        return None
    found, ours = Path(named).absolute(), [path.absolute() for path in written]  # tempfile makes them absolute
    own = any(found.is_relative_to(path) or path.is_relative_to(found) for path in ours)
    return None if own else Path(named)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; put in place, flushed to the disk, when the block ends well.

    Raises:
        StorageError: the file cannot be written, as with no space left; nothing is left behind.
        DataError: what it is made from cannot be read; nothing is left behind either.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with writing(path, temporary):
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
    """An empty folder beside ``folder`` to fill; put in its place, flushed to the disk, when the block ends well.

    What stood there before stays until then.

    Raises:
        StorageError: it cannot be filled, as with no space left; nothing is left behind.
        DataError: what it is filled from cannot be read; nothing is left behind either.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # from a run that was killed
    try:
        with writing(folder, partial):
            partial.mkdir(parents=True)
            yield partial
            os.sync()  # at once: thousands of pictures one by one take long
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
