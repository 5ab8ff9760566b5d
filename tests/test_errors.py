import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from palimpsest.errors import (
    DataError,
    SettingsError,
    check_name,
    failure_message,
    nearest,
    no_space,
    printable,
    unknown_name,
    user_message,
)
from tests.conftest import room_for


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("widht", "; did you mean 'width'?"),
        ("WIDTH", "; did you mean 'width'?"),
        ("padding", "; did you mean 'Padding'?"),
        ("zzz", "; choose from width, Padding"),
    ],
)
def test_the_nearest_name_or_all_of_them(name: str, message: str) -> None:
    assert nearest(name, ["width", "Padding"]) == message


def test_text_that_is_not_unicode_is_printed_with_escapes() -> None:
    latin = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert printable(f"ä {latin}") == r"ä caf\udce9.jpg"
    assert str(DataError(f"{latin}: no such file")) == r"caf\udce9.jpg: no such file"


def test_a_known_name_is_returned_and_an_unknown_one_refused() -> None:
    assert check_name("width", ["width"], "setting") == "width"
    with pytest.raises(SettingsError, match=r"^unknown setting 'widht'; did you mean 'width'"):
        check_name("widht", ["width"], "setting")


def test_an_unknown_name_is_reported_with_its_key() -> None:
    names = "train", "val"
    assert unknown_name("vall", names, "split", "splits") == "unknown split 'vall' in splits; did you mean 'val'?"
    assert unknown_name(None, names, "split") == "missing; choose from train, val"


def fill_database(path: Path) -> None:
    with create_engine(f"sqlite:///{path}").begin() as connection:
        connection.execute(text("CREATE TABLE a AS SELECT zeroblob(100000) AS b"))


WRITERS: dict[str, Callable[[Path], object]] = {
    "Python": lambda path: path.write_bytes(bytes(999)),
    "NumPy": lambda path: np.save(path, np.ones(99_999)),
    "Pillow": lambda path: Image.new("RGB", (99, 99)).save(path, "PNG"),
    "SQLAlchemy": fill_database,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_recognised_in_the_errors_of_every_library(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    with pytest.raises(Exception) as caught, room_for(100):
        write(tmp_path / "a.npy")
    assert no_space(caught.value)
    assert failure_message("a.npy", caught.value).endswith("; make room and run the same command again")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_quota_and_a_limit_are_a_full_disk_too(number: int) -> None:
    error = OSError(number, os.strerror(number), "from.png", None, "to.png")
    line = f"to.png: cannot be written ({os.strerror(number)}); make room and run the same command again"
    assert user_message(error) == line


def test_a_full_disk_is_recognised_as_the_cause_of_an_error() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise DataError("a.zip: cannot be unpacked") from error
    except DataError as error:
        assert no_space(error) and user_message(error) == "a.zip: cannot be unpacked"


@pytest.mark.parametrize(
    "error",
    [PermissionError(errno.EACCES, "Permission denied"), ValueError("full"), sqlite3.OperationalError("locked")],
)
def test_other_errors_are_no_full_disk(error: Exception) -> None:
    assert not no_space(error) and user_message(error) is None
    assert "make room" not in failure_message("a.png", error)


def test_a_file_name_that_the_locale_cannot_write_is_named_with_the_remedy() -> None:
    with pytest.raises(UnicodeEncodeError) as failed:
        "café.jpg".encode("ascii")
    message = "caf\\xe9.jpg: cannot be written in this locale (ascii); set PYTHONUTF8=1 and run it again"
    assert user_message(failed.value) == message
    with pytest.raises(UnicodeEncodeError) as failed:
        "caf\udce9".encode()
    assert user_message(failed.value) is None
