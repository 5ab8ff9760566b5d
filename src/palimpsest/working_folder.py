"""Folder of a training outside a study: prepared pictures and the checkpoint of an interrupted training."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palimpsest.errors import DataError, TrainingError
from palimpsest.storage.atomic import write_text, writing

CHECKPOINT = "training.resume"
"""Name of the checkpoint in the folder."""
MARK = "palimpsest.txt"
"""Name of the file that marks such a folder."""
TEXT = "Folder of `palimpsest add-task`, which removes it at the end. After Ctrl-C the command goes on from here.\n"


def check_folder(path: Path) -> None:
    """Check that a folder does not exist, is empty, or was made by `working_folder`.

    Raises:
        DataError: the path belongs to the user.
    """
    if path.is_dir():
        usable = (path / MARK).is_file() or not any(path.iterdir())
    else:
        usable = not (path.exists() or path.is_symlink())
    if not usable:
        raise DataError(f"{path}: is not a folder of this command; move it away, or name another output")


@contextmanager
def working_folder(path: Path) -> Iterator[None]:
    """Make a folder with the file `MARK`, run a block that uses it, and remove it.

    It is kept if the block fails or is interrupted after an epoch, so that the training can be resumed.

    Raises:
        DataError: the path belongs to the user.
        StorageError: the folder cannot be made.
    """
    check_folder(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    write_text(path / MARK, TEXT)
    kept = False
    try:
        yield
    except BaseException as error:
        kept = (path / CHECKPOINT).exists() and not isinstance(error, TrainingError)  # it would fail again
        raise
    finally:
        if not kept:
            shutil.rmtree(path, ignore_errors=True)
