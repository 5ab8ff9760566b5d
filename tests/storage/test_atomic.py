import os
import shutil
from pathlib import Path

import pytest

from palimpsest.errors import DataError, StorageError
from palimpsest.storage.atomic import replacing, replacing_folder, write_text, writing
from tests.conftest import room_for


def test_the_file_exists_only_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    with replacing(path) as temporary:
        temporary.write_text("1,2")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "1,2"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.csv"]


def test_a_reader_of_the_old_file_never_reads_half_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"  # the file was replaced, not overwritten
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_with_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with (
        pytest.raises(StorageError, match=r"table\.csv: cannot be written \(No space left on device\)"),
        replacing(path) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(28, os.strerror(28))
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"), replacing(tmp_path / "table.csv"):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder has to be")
    with pytest.raises(StorageError, match=r"table\.csv: cannot be written"):
        write_text(tmp_path / "results" / "mini" / "table.csv", "1,2")


def test_content_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, order = tmp_path / "table.csv", []
    monkeypatch.setattr(os, "fsync", lambda file: order.append(path.exists()))
    write_text(path, "1,2")
    assert order[:1] == [False]


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = tmp_path / "lost.png"
    message = rf"^{source}: cannot be read \(No such file or directory\); correct this"
    with pytest.raises(DataError, match=message), replacing(tmp_path / "new" / "a.png") as temporary:
        shutil.copyfile(source, temporary)
    with pytest.raises(DataError, match=message), replacing_folder(tmp_path / "new" / "folder") as partial:
        shutil.copyfile(source, partial / "a.png")
    assert not list((tmp_path / "new").iterdir())


def test_an_error_inside_a_folder_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = r"^folder: cannot be written \(Permission denied\); correct this"
    with pytest.raises(StorageError, match=message), writing(Path("folder")):
        raise PermissionError(13, "Permission denied", str(tmp_path / "folder" / "tmp1"))


def test_a_full_disk_names_the_copy_and_not_its_source(tmp_path: Path) -> None:
    (tmp_path / "source.png").write_bytes(bytes(999))
    message = r"a\.png: cannot be written \(File too large\)"
    with pytest.raises(StorageError, match=message), room_for(100), replacing(tmp_path / "a.png") as temporary:
        shutil.copyfile(tmp_path / "source.png", temporary)


def test_content_of_a_folder_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, synced = tmp_path / "folder", []
    monkeypatch.setattr(
        os, "sync", lambda: synced.append((folder.exists(), [path.name for path in tmp_path.rglob("*.jpg")]))
    )
    with replacing_folder(folder) as partial:
        (partial / "1.jpg").write_bytes(b"jpg")
    assert synced == [(False, ["1.jpg"])]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "table.csv", "ü")
    assert (tmp_path / "table.csv").read_bytes() == b"\xc3\xbc"
