"""The manifest of a data set: SHA-256 and size of each file, so that results lead back to the very bytes.

JSON, ``{"files": {"<path relative to the root>": {"bytes": …, "sha256": "…"}}}``, sorted by path; the same
files give the same manifest wherever they lie.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from palimpsest.errors import DataError, printable
from palimpsest.storage.atomic import write_text

JUNK = frozenset({"thumbs.db", "desktop.ini"})
"""What file browsers leave behind; nothing reads it, so that it must not change the manifest."""


def write_manifest(root: Path, path: Path, files: Iterable[Path] | None = None) -> None:
    """Writes the manifest of all files below ``root``, or of ``files``, to ``path``.

    Links to folders are followed; hidden files, `JUNK` and the manifest itself are passed over.

    Raises:
        DataError: a file is missing, unreadable or not below ``root``, or there is none.
    """
    root, path = Path(root), Path(path)
    chosen = _below(root, path) if files is None else list(files)
    try:
        names = {printable(file.relative_to(root).as_posix()): file for file in chosen}
    except ValueError as error:
        raise DataError(f"manifest of {root}: {error}") from None
    if not names:
        raise DataError(f"{root}: no files")
    ordered = sorted(names)
    with ThreadPoolExecutor(2) as pool:  # hashlib lets go of the interpreter's lock
        entries = dict(zip(ordered, pool.map(lambda name: _entry(names[name]), ordered), strict=True))
    write_text(path, json.dumps({"files": entries}, indent=1, ensure_ascii=False) + "\n")


def _below(root: Path, manifest: Path) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if not name.startswith(".") and name.lower() not in JUNK]
    return [file for file in found if file.absolute() != manifest.absolute()]


def _entry(file: Path) -> dict[str, int | str]:
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            return {"bytes": content.tell(), "sha256": digest}
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
