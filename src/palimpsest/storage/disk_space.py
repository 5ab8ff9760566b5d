"""Space on the disk that a run needs."""

import os
import tempfile
from pathlib import Path

from palimpsest.storage.atomic import writing

NEEDED = 2**20
"""Bytes without which no run is started: Snakemake ends in a traceback where its locks and records do not fit."""


def check_space(folder: Path) -> None:
    """Write `NEEDED` bytes to a folder and delete them again: the file system's own figure leaves quotas out.

    Raises:
        StorageError: there is no space.
    """
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(NEEDED))
        file.flush()
        os.fsync(file.fileno())
