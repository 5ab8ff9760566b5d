"""Atomic writing: a file or folder appears as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palimpsest.errors import DataError, PalimpsestError, StorageError, failure_message, no_space


@contextmanager
def writing(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Turn an error of the block, which writes ``path``, into one that names the file.

    ``partial`` is the name of the file or folder until it is finished.

    Raises:
        StorageError: the file cannot be written, as with no space left.
        DataError: a file that it is made from cannot be read.
    """
    try:
        yield
    except PalimpsestError:
        raise
    except Exception as error:
        if no_space(error):  # libraries wrap the system's error
            raise StorageError(failure_message(path, error)) from error
        if not isinstance(error, OSError):
            raise
        source = other_file(error, path, partial or path)
        if source is not None:
            raise DataError(failure_message(source, error, "read")) from error
        raise StorageError(failure_message(path, error)) from error


def other_file(error: OSError, *written: Path) -> Path | None:
    """Return the file that an error names, unless it is one of ``written``, inside one or a folder around one."""
    name = error.filename if error.filename2 is None else error.filename2  # the second of two is the target
    if not isinstance(name, str | os.PathLike):
        return None
    path, targets = Path(name).absolute(), [target.absolute() for target in written]  # tempfile's are absolute
    is_target = any(path.is_relative_to(target) or target.is_relative_to(path) for target in targets)
    return None if is_target else Path(name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; flush it to the disk and rename it to ``path`` if the block succeeds.

    The temporary file is deleted after an error.

    Raises:
        StorageError: the file cannot be written, as with no space left.
        DataError: a file that it is made from cannot be read.
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
        with suppress(OSError):  # if the folder could not be made
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
    """Yield an empty folder beside ``folder``; flush it to the disk and rename it if the block succeeds.

    The previous folder stays until then. The new one is deleted after an error.

    Raises:
        StorageError: the folder cannot be filled, as with no space left.
        DataError: a file that it is made from cannot be read.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # from a run that was killed
    try:
        with writing(folder, partial):
            partial.mkdir(parents=True)
            yield partial
            os.sync()  # one call, since thousands of fsync calls take long
            replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Rename a finished folder to ``folder`` beside it, and delete the previous one."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
