import errno
import hashlib
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from palimpsest.data import download
from palimpsest.data.coco import CocoFolder
from palimpsest.data.download import DOWNLOADS, Download, fetch, split_val2017, unpack
from palimpsest.errors import DataError, StorageError
from tests.conftest import room_for

CONTENT = bytes(range(256)) * 4096  # halves and quarters are multiples of the transfer's chunk

NAME = "thing.bin"


class Server(ThreadingHTTPServer):
    """Server that answers as in ``script``, then correctly, and records the requested ranges."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.script: list[str | int] = []
        self.ranges: list[str | None] = []
        self.content = CONTENT
        self.honours_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        step = self.server.script.pop(0) if self.server.script else "well"
        if step == "redirect":
            self.send_response(302)
            self.send_header("Location", f"/elsewhere/{NAME}")
            self.end_headers()
            return
        if isinstance(step, int):
            self.send_error(step)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.honours_ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if step == "truncated" else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setitem(DOWNLOADS, NAME, Download("", f"md5:{hashlib.md5(CONTENT).hexdigest()}", 1))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server: Server, folder: Path) -> Path:
    return fetch(NAME, folder, server.url, pause=0.001)


def test_a_valid_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT and [*path.parent.iterdir()] == [path]
    get(server, path.parent)
    assert server.ranges == [None]


def test_the_first_digits_of_a_sha256_suffice(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DOWNLOADS, NAME, Download("", f"sha256:{hashlib.sha256(CONTENT).hexdigest()[:8]}", 1))
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_no_file_and_names_both(server: Server, tmp_path: Path) -> None:
    server.content = b"something else"
    expected, actual = (hashlib.md5(content).hexdigest() for content in (CONTENT, server.content))
    with pytest.raises(DataError, match=f"thing.bin: wrong checksum: expected md5 {expected}, found {actual};"):
        get(server, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_truncated_download_is_resumed(server: Server, tmp_path: Path) -> None:
    server.script = ["truncated", "truncated"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_without_ranges_a_download_starts_again(server: Server, tmp_path: Path) -> None:
    server.script, server.honours_ranges = ["truncated"], False
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_the_download_of_a_killed_run_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_complete_part_is_only_renamed(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(b"x" * 1000)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_a_full_disk_is_named_and_the_download_is_resumed(server: Server, tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    message = r"thing\.bin: cannot be written \(.*\); make room and run the same command again$"
    with pytest.raises(StorageError, match=message), room_for(half):
        get(server, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".{NAME}.part"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={half}-"]


def test_a_404_fails_at_once(server: Server, tmp_path: Path) -> None:
    server.script = [404]
    with pytest.raises(DataError, match=r"thing\.bin: download failed: 404"):
        get(server, tmp_path)
    assert len(server.ranges) == 1 and not [*tmp_path.iterdir()]


def test_temporary_errors_are_retried(server: Server, tmp_path: Path) -> None:
    server.script = [503, 429]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_persistent_errors_end_the_download(server: Server, tmp_path: Path) -> None:
    server.script = [503] * 100
    with pytest.raises(DataError, match="503"):
        get(server, tmp_path)
    assert len(server.ranges) == download.TRIES


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.script = ["redirect"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_an_unreachable_server_is_an_error(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="download failed"):
        fetch(NAME, tmp_path, "http://127.0.0.1:1/files", pause=0.001)
    assert not [*tmp_path.iterdir()]


def test_a_wrong_file_of_the_name_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"half")
    with pytest.raises(DataError, match=r"thing\.bin: wrong checksum: .*; delete the file"):
        get(server, tmp_path)


def test_an_unreadable_file_of_the_name_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(DataError, match=r"thing\.bin: cannot be read \(Is a directory\)"):
        get(server, tmp_path)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train2017\.zip"):
        fetch("train2018.zip", tmp_path)


def test_names_of_weights_contain_their_checksums() -> None:
    for name in ("squeezenet1_1-b8a52dc0.pth", "vgg16-397923af.pth", "vgg16_features-amdegroot-88682ab5.pth"):
        assert DOWNLOADS[name].checksum == f"sha256:{name.removesuffix('.pth')[-8:]}"
        assert DOWNLOADS[name].url.startswith("https://")
    assert len(DOWNLOADS) == 9 and all(entry.url.endswith(name) for name, entry in DOWNLOADS.items())


def tar(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"ok"))


def test_archives_are_unpacked_beside_existing_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("annotations/a.json", "ok")
    tar(tmp_path / "b.tgz", ["annotations/b.json", "VOCdevkit/x.txt"])
    for name in ("a.zip", "b.tgz", "a.zip"):
        unpack(tmp_path / name, tmp_path / "raw")
    unpacked = sorted(path.relative_to(tmp_path / "raw").as_posix() for path in (tmp_path / "raw").rglob("*.*"))
    assert unpacked == ["VOCdevkit/x.txt", "annotations/a.json", "annotations/b.json"]
    assert (tmp_path / "raw" / "annotations" / "b.json").read_text() == "ok"


def test_damaged_and_malicious_archives_are_named_and_leave_no_file(tmp_path: Path) -> None:
    tar(tmp_path / "out.tgz", ["../../escaped"])
    tar(tmp_path / "cut.tgz", [f"{number}.txt" for number in range(2000)])
    (tmp_path / "cut.tgz").write_bytes((tmp_path / "cut.tgz").read_bytes()[:2000])
    (tmp_path / "no.zip").write_bytes(b"not an archive")
    actions = {"out.tgz": "unpacked", "cut.tgz": "unpacked", "no.zip": "unpacked", "missing.zip": "read"}
    for name, action in actions.items():
        with pytest.raises(DataError, match=f"{name}: cannot be {action}"):
            unpack(tmp_path / name, tmp_path / "raw")
        assert not [*(tmp_path / "raw").iterdir()]


def val2017(root: Path, count: int) -> None:
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(count)]
    for image in images:
        (root / "val2017" / str(image["file_name"])).write_text(str(image["id"]))
    annotations = [{"id": 70 + number, "image_id": number, "category_id": 1} for number in range(count)]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cup", "supercategory": "kitchen"}],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


def test_val2017_is_split_by_id_into_another_data_set(tmp_path: Path) -> None:
    val2017(tmp_path / "raw", 10)
    split_val2017(tmp_path / "raw", tmp_path / "coco")
    data = CocoFolder(tmp_path / "coco")
    parts = {split: [record.key for record in data.records(split)] for split in ("train", "val", "unlabeled")}
    assert parts == {
        "train": ["train/2", "train/3", "train/4", "train/7", "train/8", "train/9"],
        "val": ["val/0", "val/5"],
        "unlabeled": ["unlabeled/1", "unlabeled/6"],
    }
    assert (tmp_path / "coco" / "train2017" / "7.jpg").read_text() == "7"
    assert all(record.fault is None for record in data.records("train"))
    assert data.categories == {"cup": "kitchen"}


def test_val2017_is_copied_without_links_and_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    val2017(tmp_path / "raw", 10)
    message = r"coco\.partial/train2017/2\.jpg: cannot be written \(.*\); make room and run the same command again$"
    with pytest.raises(StorageError, match=message), room_for(0):
        split_val2017(tmp_path / "raw", tmp_path / "coco")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    split_val2017(tmp_path / "raw", tmp_path / "coco")
    assert (tmp_path / "coco" / "train2017" / "7.jpg").read_text() == "7"


def test_an_unreadable_picture_of_val2017_is_named(tmp_path: Path) -> None:
    val2017(tmp_path / "raw", 10)
    picture = tmp_path / "raw" / "val2017" / "8.jpg"
    picture.unlink()
    picture.mkdir()
    with pytest.raises(
        DataError,
        match=rf"^{picture}: cannot be read \(Is a directory\); correct this",
    ):
        split_val2017(tmp_path / "raw", tmp_path / "coco")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_an_empty_val2017_leaves_no_file(tmp_path: Path) -> None:
    val2017(tmp_path / "raw", 10)
    (tmp_path / "raw" / "val2017" / "8.jpg").unlink()
    with pytest.raises(DataError, match=r"8\.jpg"):
        split_val2017(tmp_path / "raw", tmp_path / "coco")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
