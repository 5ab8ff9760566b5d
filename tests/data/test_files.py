import os
import socket
from pathlib import Path

import pytest

from palimpsest.data.files import files_below, real_paths, size_and_sha256
from palimpsest.errors import DataError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(root: Path, unique: bool = True) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files_below(root, unique)]


@pytest.mark.parametrize("target", ["..", ".", "../..", "../photos"])
def test_a_link_to_a_folder_above_adds_nothing(tmp_path: Path, target: str) -> None:
    for number in range(12):
        touch(tmp_path / "set" / "photos" / f"{number:02}.jpg")
    (tmp_path / "set" / "photos" / "again").symlink_to(target)
    assert names(tmp_path / "set" / "photos") == [f"{number:02}.jpg" for number in range(12)]
    assert names(tmp_path / "set") == [f"photos/{number:02}.jpg" for number in range(12)]


def test_a_link_back_through_another_folder_is_not_followed(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "train" / "a.jpg")
    touch(tmp_path / "set" / "val" / "b.jpg")
    touch(tmp_path / "elsewhere" / "c.jpg")
    (tmp_path / "set" / "train" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    assert names(tmp_path / "set" / "train") == ["a.jpg", "more/c.jpg"]


def test_a_file_is_preferred_to_its_links_and_a_near_link_to_a_far_one(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "z" / "deep" / "a.jpg")
    (tmp_path / "set" / "a.jpg").symlink_to("z/deep/a.jpg")
    (tmp_path / "set" / "latest").symlink_to("z/deep")
    assert names(tmp_path / "set") == ["z/deep/a.jpg"]
    assert names(tmp_path / "set", unique=False) == ["a.jpg", "z/deep/a.jpg"]
    outside = touch(tmp_path / "outside.jpg")
    (tmp_path / "set" / "z" / "link.jpg").symlink_to(outside)
    (tmp_path / "set" / "y.jpg").symlink_to(outside)
    assert names(tmp_path / "set") == ["y.jpg", "z/deep/a.jpg"]


def test_two_folders_that_link_to_each_other_are_entered_once(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "a.jpg")
    touch(tmp_path / "two" / "b.jpg")
    (tmp_path / "one" / "two").symlink_to("../two")
    (tmp_path / "two" / "one").symlink_to("../one")
    assert names(tmp_path) == ["one/a.jpg", "two/b.jpg"]
    assert names(tmp_path / "one") == ["a.jpg", "two/b.jpg"]


def test_irregular_files_are_skipped_and_broken_links_are_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/null")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "itself.jpg").symlink_to("itself.jpg")
    with socket.socket(socket.AF_UNIX) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # names of sockets have to be short
        server.bind("socket.jpg")
    assert names(tmp_path) == ["gone.jpg", "itself.jpg"]
    for name in ("pipe.jpg", "device.jpg", "gone.jpg", "itself.jpg"):
        assert size_and_sha256(tmp_path / name) is None


@pytest.mark.parametrize("folder", ["@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", "System Volume Information"])
def test_folders_that_drives_and_archives_add_are_skipped(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / "a.jpg")
    touch(tmp_path / folder / "a.jpg" / "SYNOPHOTO_THUMB_M.jpg")
    assert names(tmp_path) == ["a.jpg"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "closed" / "a.jpg")
    scan = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match=r"closed: the folder cannot be read \(Permission denied\); grant access"):
        files_below(tmp_path)


def test_real_paths_follow_links_of_files_and_folders(tmp_path: Path) -> None:
    real = touch(tmp_path / "a" / "x.jpg")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "y.jpg").symlink_to("a/x.jpg")
    aliases = [real, tmp_path / "b" / "x.jpg", tmp_path / "y.jpg", tmp_path / "b" / ".." / "a" / "x.jpg"]
    assert real_paths(aliases) == [os.path.realpath(real)] * 4
