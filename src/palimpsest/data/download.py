"""Download of the public data sets and weights, with checksums, resumed transfers and unpacking of archives.

An incomplete or unverified file is named ``.<name>.part``; a later attempt resumes from it.
"""

import hashlib
import json
import os
import shutil
import sys
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from palimpsest.errors import DataError, failure_message, unknown_name
from palimpsest.storage.atomic import replacing_folder, write_text, writing

if TYPE_CHECKING:
    import requests

COCO = "http://images.cocodataset.org"  # the HTTPS certificate is for another host name
VOC = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012"
SBD = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours"
TORCHVISION = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class Download:
    """Downloadable file."""

    url: str
    checksum: str
    """``md5:`` or ``sha256:`` with all hexadecimal digits or the first few."""
    megabytes: int
    """Size, rounded to 10⁶ bytes."""


DOWNLOADS = {
    download.url.rpartition("/")[2]: download
    for download in (
        Download(f"{COCO}/zips/train2017.zip", "md5:cced6f7f71b7629ddf16f17bbcfab6b2", 19337),
        Download(f"{COCO}/zips/val2017.zip", "md5:442b8da7639aecaf257c1dceb8ba8c80", 816),
        Download(f"{COCO}/zips/unlabeled2017.zip", "md5:7ebc562819fdb32847aab79530457326", 20127),
        Download(f"{COCO}/annotations/annotations_trainval2017.zip", "md5:f4bbac642086de4f52a3fdda2de5fa2c", 253),
        Download(f"{VOC}/VOCtrainval_11-May-2012.tar", "md5:6cd6e144f989b92b3379bac3b3de84fd", 2000),
        Download(f"{SBD}/benchmark.tgz", "md5:82b4d87ceb2ed10f6038a1cba92111cb", 1420),
        Download(f"{TORCHVISION}/squeezenet1_1-b8a52dc0.pth", "sha256:b8a52dc0", 5),
        Download(f"{TORCHVISION}/vgg16-397923af.pth", "sha256:397923af", 553),
        Download(f"{TORCHVISION}/vgg16_features-amdegroot-88682ab5.pth", "sha256:88682ab5", 553),
    )
}
"""Downloadable files by name."""

TRIES = 5
"""Maximum number of attempts per transfer."""

UNPACK_ADVICE = "run the same command again, which unpacks the archives again"
"""Advice of messages about unpacked files."""

WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP status codes of transient failures."""


def fetch(name: str, folder: Path, base_url: str | None = None, pause: float = 1.0) -> Path:
    """Download a file of `DOWNLOADS` to ``folder``, unless it exists, and return its path; verify its checksum.

    ``base_url`` is the URL of a mirror without the name of the file; None for the URL in `DOWNLOADS`. After a
    transient failure the transfer resumes, with `TRIES` attempts in total. The first wait is ``pause`` seconds, and
    each wait is twice the last.

    Raises:
        DataError: the name is unknown, the transfer fails, or the checksum is wrong.
        StorageError: the disk is full or not writable.
    """
    if name not in DOWNLOADS:
        raise DataError(f"datasets.NAME.archives: {unknown_name(name, DOWNLOADS, 'archive')}")
    download = DOWNLOADS[name]
    url = f"{base_url.rstrip('/')}/{name}" if base_url else download.url
    path, part = Path(folder) / name, Path(folder) / f".{name}.part"
    if path.exists():
        _verify(path, download.checksum, path, "delete the file to download it again")
        return path
    with writing(path, part):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _transfer(url, part, pause) and not _matches(part, download.checksum):
            part.unlink()  # the file may have changed on the server between two attempts
            _transfer(url, part, pause)
        try:
            _verify(part, download.checksum, url, "run the same command again, or use another mirror")
        except DataError:
            part.unlink()
            raise
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    return path


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into ``folder``; files that the archive does not contain stay there.

    The archive is unpacked into a hidden folder first, so each file appears only when it is complete.

    Raises:
        DataError: the archive is missing, damaged, of another format, or has paths outside the folder.
        StorageError: the disk is full or not writable.
    """
    archive, folder = Path(archive), Path(folder)
    partial = folder / f".{archive.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
    try:
        with writing(folder, partial):
            partial.mkdir(parents=True)
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as packed:
                    packed.extractall(partial)
            else:
                with tarfile.open(archive) as packed_tar:
                    packed_tar.extractall(partial, filter="data")
            _move_into(partial, folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(
            f"{archive}: cannot be unpacked ({error}); delete it and run the same command again, which downloads it"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def split_val2017(source: Path, folder: Path) -> None:
    """Split COCO's val2017 (5000 photographs) in ``source`` into a small data set in COCO's layout, ``folder``.

    The split is the picture id modulo 5: 0 → val2017, 1 → unlabeled2017, 2 to 4 → train2017. Pictures are hard
    links if the file system supports them, otherwise copies.

    Raises:
        DataError: ``source`` lacks val2017 or its annotations.
        StorageError: the disk is full; the message names the file.
    """
    source, folder = Path(source), Path(folder)
    index = source / "annotations" / "instances_val2017.json"
    try:
        content: dict[str, Any] = json.loads(index.read_bytes())
        with replacing_folder(folder) as partial:
            (partial / "annotations").mkdir()
            for split, rests in {"train2017": (2, 3, 4), "val2017": (0,), "unlabeled2017": (1,)}.items():
                images = [image for image in content["images"] if image["id"] % 5 in rests]
                (partial / split).mkdir()
                for image in images:
                    _link(source / "val2017" / image["file_name"], partial / split / image["file_name"])
                part = {**content, "images": images}
                kind = "image_info" if split == "unlabeled2017" else "instances"
                if kind == "instances":
                    part["annotations"] = [note for note in content["annotations"] if note["image_id"] % 5 in rests]
                else:
                    del part["annotations"]
                write_text(partial / "annotations" / f"{kind}_{split}.json", json.dumps(part))
    except OSError as error:
        raise DataError(f"{index}: cannot be read ({error.strerror or error}); {UNPACK_ADVICE}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{index}: not a COCO annotation file ({error!r}); {UNPACK_ADVICE}") from error


def _transfer(url: str, part: Path, pause: float) -> bool:
    """Download ``url`` to ``part``; return True if any attempt began with content in ``part``.

    ``pause`` is the time in seconds before the second attempt; it doubles before each further one.

    Raises:
        DataError: the transfer fails `TRIES` times, or with a permanent error.
    """
    import requests  # noqa: PLC0415 (of the extra `pipeline`; other functions of data sets run without it)

    resumed = False
    for remaining in reversed(range(TRIES)):
        resumed |= part.exists() and part.stat().st_size > 0
        try:
            with part.open("ab") as file:
                _resume(url, file)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status == 416 and resumed:  # the range starts at the end of the file: it is complete
                return True
            _drop_empty(part)
            if status not in WORTH_ANOTHER_TRY or not remaining:
                raise DataError(f"{url}: download failed: {error}; check the URL and the network") from error
        except requests.RequestException as error:
            _drop_empty(part)
            if not remaining:
                raise DataError(f"{url}: download failed: {error}; run the same command again to resume") from error
        else:
            return resumed
        time.sleep(pause * 2 ** (TRIES - 1 - remaining))
    raise AssertionError("the last attempt returns or raises")


def _resume(url: str, file: BinaryIO) -> None:
    import pooch  # noqa: PLC0415 (of the extra `pipeline`)

    start = file.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"

    def restart(response: "requests.Response", *_: object, **__: object) -> None:
        if response.status_code == 200 and start:  # a server without ranges sends the whole file
            file.truncate(0)

    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=1 << 16,
        headers=headers,
        hooks={"response": restart},
        timeout=60,
    )
    download(url, file, None)


def _verify(path: Path, checksum: str, source: Path | str, advice: str) -> None:
    if not _matches(path, checksum):
        algorithm, _, expected = checksum.partition(":")
        actual = _file_hash(path, algorithm)
        raise DataError(f"{source}: wrong checksum: expected {algorithm} {expected}, found {actual}; {advice}")


def _matches(path: Path, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(":")
    try:
        actual = _file_hash(path, algorithm)
    except OSError as error:
        message = failure_message(path, error, "read")
        raise DataError(f"{message}; delete it and run the same command again") from error
    return actual.startswith(expected)


def _file_hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _drop_empty(part: Path) -> None:
    if part.stat().st_size == 0:
        part.unlink()


def _move_into(new: Path, folder: Path) -> None:
    """Move every file of ``new`` to the same relative path in ``folder``; folders that are new move as a whole."""
    for entry in sorted(new.iterdir()):
        target = folder / entry.name
        if entry.is_dir() and target.is_dir():
            _move_into(entry, target)
        else:
            entry.replace(target)


def _link(file: Path, target: Path) -> None:
    try:
        target.hardlink_to(file)
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file; {UNPACK_ADVICE}") from error
    except OSError:  # another disk, or a file system without links
        with writing(target):
            shutil.copyfile(file, target)
