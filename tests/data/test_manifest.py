import json
import shutil
from pathlib import Path

import pytest

from palimpsest.data.manifest import Digests, write_manifest
from palimpsest.errors import DataError


def test_size_and_sha256_of_every_file_sorted(tmp_path: Path) -> None:
    (tmp_path / "raw" / "b ü").mkdir(parents=True)
    (tmp_path / "raw" / "b ü" / "x.jpg").write_bytes(b"abc")
    (tmp_path / "raw" / "a.json").write_bytes(b"")
    write_manifest(tmp_path / "raw", tmp_path / "manifest.json")
    content = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert list(content["files"]) == ["a.json", "b ü/x.jpg"]
    assert content["files"] == {
        "a.json": {"bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        "b ü/x.jpg": {
            "bytes": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        },
    }


def test_the_same_files_elsewhere_give_the_same_manifest(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for number in range(20):
        (tmp_path / "one" / f"{number}.bin").write_bytes(bytes([number]))
    write_manifest(tmp_path / "one", tmp_path / "one" / "manifest.json")
    write_manifest(tmp_path / "one", tmp_path / "one" / "manifest.json")  # the manifest does not list itself
    shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns("manifest.json"))
    (tmp_path / "two" / "._1.bin").touch()
    (tmp_path / "two" / "Thumbs.db").touch()
    write_manifest(tmp_path / "two", tmp_path / "other.json")
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(b"a")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "train2017").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "raw")
    write_manifest(tmp_path / "raw", tmp_path / "manifest.json")
    assert list(json.loads((tmp_path / "manifest.json").read_text())["files"]) == ["train2017/a.jpg"]


def test_a_missing_folder_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    target = tmp_path / "manifest.json"
    for root, message in ((tmp_path / "none", "none: no such folder"), (tmp_path, "no files")):
        with pytest.raises(DataError, match=message):
            write_manifest(root, target)
    assert not target.exists()


def test_a_file_that_cannot_be_read_has_no_digest_and_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jpg").write_bytes(b"abc")
    (tmp_path / "raw" / "gone.jpg").symlink_to("nowhere.jpg")
    write_manifest(tmp_path / "raw", tmp_path / "manifest.json")
    files = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert files["gone.jpg"] == {"bytes": None, "sha256": None} and files["a.jpg"]["bytes"] == 3


def test_every_name_of_a_file_is_listed(tmp_path: Path) -> None:
    """Test links to files, which annotations may name."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jpg").write_bytes(b"abc")
    (tmp_path / "raw" / "b.jpg").symlink_to("a.jpg")
    write_manifest(tmp_path / "raw", tmp_path / "manifest.json")
    assert list(json.loads((tmp_path / "manifest.json").read_text())["files"]) == ["a.jpg", "b.jpg"]


def test_digests_are_those_of_the_manifest_unless_the_file_has_changed(tmp_path: Path) -> None:
    file, manifest = tmp_path / "a.jpg", tmp_path / "manifest.json"
    file.write_bytes(b"abc")
    manifest.write_text(json.dumps({"files": {"a.jpg": {"bytes": 3, "sha256": "listed"}}}))
    assert Digests(tmp_path, manifest)(file) == "listed"
    file.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Digests(tmp_path, manifest)(file) == Digests(tmp_path)(file) == empty
    assert Digests(tmp_path)(tmp_path / "gone.jpg") is None
    manifest.write_text("[]")
    with pytest.raises(DataError, match=r"manifest\.json: damaged .*; delete it and run the same command again"):
        Digests(tmp_path, manifest)


def test_a_file_behind_a_linked_folder_is_not_hashed_again(tmp_path: Path) -> None:
    (tmp_path / "raw/train2017").mkdir(parents=True)
    (tmp_path / "raw/train2017/a.jpg").write_bytes(b"abc")
    (tmp_path / "raw/unlabeled2017").symlink_to("train2017")
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"files": {"train2017/a.jpg": {"bytes": 3, "sha256": "listed"}}}))
    digests = Digests(tmp_path / "raw", manifest)
    assert digests(tmp_path / "raw/unlabeled2017/a.jpg") == "listed"
    (tmp_path / "raw/b.jpg").write_bytes(b"abc")
    assert digests(tmp_path / "raw/b.jpg") != "listed"
