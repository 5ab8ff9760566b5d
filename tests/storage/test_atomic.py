import os
from pathlib import Path

import pytest

from palimpsest.errors import StorageError
from palimpsest.storage.atomic import replacing, write_text


def test_the_file_is_there_when_the_block_has_ended_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    with replacing(path) as temporary:
        temporary.write_text("1,2")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "1,2"
    assert [found.name for found in path.parent.iterdir()] == ["table.csv"]


def test_who_is_reading_the_old_file_never_sees_half_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"  # put in place as a whole, not written over
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_in_one_line_with_the_name_of_the_file(tmp_path: Path) -> None:
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


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder has to be")
    with pytest.raises(StorageError, match=r"table\.csv: cannot be written"):
        write_text(tmp_path / "results" / "mini" / "table.csv", "1,2")


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, order = tmp_path / "table.csv", []
    monkeypatch.setattr(os, "fsync", lambda file: order.append(path.exists()))
    write_text(path, "1,2")
    assert order[:1] == [False]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "table.csv", "ü")
    assert (tmp_path / "table.csv").read_bytes() == b"\xc3\xbc"
