"""Folders of pictures without targets."""

from pathlib import Path

import pytest
from PIL import Image

from palimpsest.data.picture_folder import PictureFolder
from palimpsest.data.reader import SampleSpec
from palimpsest.errors import DataError


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 32), "teal").save(path)


def sources(root: Path, split: str) -> list[str]:
    return [record.source for record in PictureFolder(root).records(split)]


def test_all_pictures_below_the_folder_are_for_training(tmp_path: Path) -> None:
    for name in ("b.png", "a/c.jpg"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("sea")
    assert sources(tmp_path, "train") == ["a/c.jpg", "b.png"]
    with pytest.raises(DataError, match="no folder 'val'; add one with pictures, or name another split"):
        sources(tmp_path, "val")
    reader = PictureFolder(tmp_path)
    sample = reader.read(reader.records("train")[0], SampleSpec(32))
    assert sample.picture.shape == (32, 32, 3) and sample.target is None


def test_a_folder_with_the_name_of_a_split_has_its_pictures(tmp_path: Path) -> None:
    for name in ("train/a.png", "val/b.png"):
        picture(tmp_path / name)
    assert (sources(tmp_path, "train"), sources(tmp_path, "val")) == (["train/a.png"], ["val/b.png"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lost: no such folder; correct the root"):
        PictureFolder(tmp_path / "lost")
