"""Disk space that a run needs."""

import os
import tempfile
from pathlib import Path

from palimpsest.storage.atomic import writing

NEEDED = 2**20
"""Bytes that a run needs at its start; without space for locks and records Snakemake ends with a traceback."""


def check_space(folder: Path) -> None:
    """Write `NEEDED` bytes to a folder and delete them, since the free space of a file system ignores quotas.

    Raises:
        StorageError: there is no space.
    """
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(NEEDED))
        file.flush()
        os.fsync(file.fileno())
