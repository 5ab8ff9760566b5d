"""Disk space that a run needs."""

import os
import tempfile
from pathlib import Path

from palimpsest.storage.atomic import writing

NEEDED = 2**20
"""Bytes that a run needs at its start; without space for locks and records Snakemake ends with a traceback."""


def check_space(folder: Path) -> None:
    """Check that a folder has space for `NEEDED` bytes: write them and delete them again.

    The free space that a file system reports ignores quotas.

    Raises:
        StorageError: the folder has no space or cannot be written to.
    """
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(NEEDED))
        file.flush()
        os.fsync(file.fileno())
