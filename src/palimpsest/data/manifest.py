"""Manifest of a data set: SHA-256 and size of each file, part of the provenance of all results.

JSON, ``{"files": {"<path relative to the root>": {"bytes": …, "sha256": "…"}}}``, sorted by path; the location
of the root does not matter. An unreadable file, such as a dangling link, has ``null`` for both; the preparation of
a task counts it as a broken picture.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from palimpsest.data.files import files_below, real_paths, size_and_sha256
from palimpsest.errors import DataError, printable
from palimpsest.storage.atomic import write_text

JUNK = frozenset({"thumbs.db", "desktop.ini"})
"""Names of files that file browsers create; they must not change the manifest."""


def write_manifest(root: Path, path: Path) -> None:
    """Write the manifest of all files below ``root`` (`files_below`) to the file ``path``.

    Hidden files, `JUNK` and the manifest itself are skipped; files under several names are listed under each.

    Raises:
        DataError: there are no files.
    """
    root, path = Path(root), Path(path)
    names = {printable(file.relative_to(root).as_posix()): file for file in _listed_files(root, path)}
    if not names:
        raise DataError(f"{root}: contains no files; check the path of the data set")
    ordered = sorted(names)
    with ThreadPoolExecutor(2) as pool:  # hashlib releases the GIL
        entries = dict(zip(ordered, pool.map(lambda name: _entry(names[name]), ordered), strict=True))
    write_text(path, json.dumps({"files": entries}, indent=1, ensure_ascii=False) + "\n")


Entry = dict[str, int | str | None]
"""Size (``bytes``) and ``sha256`` of a file, both None for an unreadable file."""


FileDigest = Callable[[Path], str | None]
"""Function from a file to its SHA-256 in hexadecimal; None if the file cannot be read."""


class Digests:
    """Function from a file of a data set to its SHA-256, read from the manifest if the size there is still correct.

    A file that the manifest lists under another path, as behind a link to a folder, is identified by its real path.
    """

    def __init__(self, root: Path, manifest: Path | None = None) -> None:
        """Read ``manifest``; if it is None or missing, each call hashes the file.

        Raises:
            DataError: the manifest is damaged.
        """
        self._root = Path(root)
        self._listed: dict[str, Entry] = {}
        self._by_real_path: dict[str, Entry] | None = None
        if manifest is not None and manifest.is_file():
            try:
                self._listed = json.loads(manifest.read_bytes())["files"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{manifest}: damaged ({error}); delete it and run the same command again"
                ) from error

    def __call__(self, path: Path) -> str | None:
        """Return the SHA-256 of a file in hexadecimal; None if it cannot be read."""
        entry = self._entry(path)
        try:
            if entry.get("sha256") and entry.get("bytes") == path.stat().st_size:
                return str(entry["sha256"])
        except OSError:
            return None
        size_and_digest = size_and_sha256(path)
        return size_and_digest[1] if size_and_digest else None

    def contains(self, path: Path) -> bool:
        """Return whether a file is below the folder of the data set."""
        return path.is_relative_to(self._root)

    def _entry(self, path: Path) -> Entry:
        entry = self._listed.get(self._name(path))
        if entry is not None or not self._listed:
            return entry or {}
        if self._by_real_path is None:
            real = real_paths(self._root / name for name in self._listed)
            self._by_real_path = dict(zip(real, self._listed.values(), strict=True))
        return self._by_real_path.get(real_paths([path])[0], {})

    def _name(self, path: Path) -> str:
        return printable(path.relative_to(self._root).as_posix()) if self.contains(path) else ""


class JoinedDigests:
    """Function from a file of one of several data sets to its SHA-256."""

    def __init__(self, digests: Sequence[Digests]) -> None:
        """Use ``digests``, one per data set; the first for a file outside all folders."""
        self._digests = digests

    def __call__(self, path: Path) -> str | None:
        """Return the SHA-256 of a file in hexadecimal; None if it cannot be read."""
        return next((digests for digests in self._digests if digests.contains(path)), self._digests[0])(path)


def _listed_files(root: Path, manifest: Path) -> list[Path]:
    files = [file for file in files_below(root, unique=False) if file.name.lower() not in JUNK]
    return [file for file in files if file.absolute() != manifest.absolute()]


def _entry(file: Path) -> Entry:
    length, digest = size_and_sha256(file) or (None, None)
    return {"bytes": length, "sha256": digest}
