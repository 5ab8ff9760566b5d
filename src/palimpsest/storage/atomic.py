"""Atomic writing: a file or folder appears complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palimpsest.errors import DataError, PalimpsestError, StorageError, failure_message, no_space


@contextmanager
def writing(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Run a block that writes ``path``; convert errors of the system into errors that name the file.

    ``partial`` is the temporary path that the block writes instead, if any. Other errors pass unchanged.

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
    """Return the file that an error names if the file is an input; None if the error concerns an output.

    Outputs are the paths ``written``, files below them, and their parent folders. An error without a file concerns
    an output.
    """
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
    """Yield a temporary path for the block to write; then flush the file to the disk and rename it to ``path``.

    If the block fails, the temporary file is deleted, and ``path`` stays as it was. Parent folders are created.

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
    """Write a text file atomically in UTF-8; create its folder if it is missing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a binary file atomically; create its folder if it is missing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder for the block to fill; then flush it to the disk and rename it to ``folder``.

    Until then the previous folder remains. If the block fails, the temporary folder is deleted, and ``folder``
    stays as it was.

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
    """Rename the folder ``new`` to ``folder``, and delete the folder that had this name before, if any."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
