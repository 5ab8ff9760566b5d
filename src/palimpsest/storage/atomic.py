"""Atomic writing: a file or folder appears complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palimpsest.errors import DataError, PalimpsestError, StorageError, failure_message, no_space


@contextmanager
def writing(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Convert errors of a block that writes ``path`` into errors that name the file.

    ``partial`` is the temporary path of the file or folder.

    Raises:
        StorageError: the file cannot be written, as on a full disk.
        DataError: an input file cannot be read.
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
        source = source_file(error, path, partial or path)
        if source is not None:
            raise DataError(failure_message(source, error, "read")) from error
        raise StorageError(failure_message(path, error)) from error


def source_file(error: OSError, *written: Path) -> Path | None:
    """Return the file in an error; None if it is one of ``written``, in one, or a parent folder of one."""
    name = error.filename if error.filename2 is None else error.filename2  # a second name is the target
    if not isinstance(name, str | os.PathLike):
        return None
    path, targets = (
        Path(name).absolute(),
        [target.absolute() for target in written],
    )  # paths of tempfile are absolute
    is_target = any(path.is_relative_to(target) or target.is_relative_to(path) for target in targets)
    return None if is_target else Path(name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; if the block succeeds, flush the file to the disk and rename it to ``path``.

    The temporary file is deleted after an error.

    Raises:
        StorageError: the file cannot be written, as on a full disk.
        DataError: an input file cannot be read.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with writing(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)  # left by a killed run
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):  # if the folder could not be made
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; if the block succeeds, flush it to the disk and rename it to ``folder``.

    Until then the previous folder remains. The temporary folder is deleted after an error.

    Raises:
        StorageError: the folder cannot be written, as on a full disk.
        DataError: an input file cannot be read.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
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
