from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.paired import PairedFolder
from palimpsest.errors import DataError


def save(path: Path, colour: str | int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)


def joint(path: Path, width: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    both = Image.new("RGB", (width, 4), "red")
    both.paste("blue", (width // 2, 0, width, 4))
    both.save(path)


def colour(pixels: np.ndarray) -> list[int]:
    (only,) = np.unique(pixels.reshape(-1, 3), axis=0).tolist()
    return list(only)


def test_folders_of_inputs_and_targets(tmp_path: Path) -> None:
    save(tmp_path / "train/input/an ä.png", "red")
    save(tmp_path / "train/target/an ä.bmp", 90)
    save(tmp_path / "val/input/b.png", "red")
    save(tmp_path / "val/target/b.png", "blue")
    (tmp_path / "train/input/._an ä.png").touch()
    (tmp_path / "train/target/Thumbs.db").touch()
    data = PairedFolder(tmp_path)
    (record,) = data.records("train")
    assert record.source == "train/input/an ä.png" and record.fault is None
    assert [colour(side) for side in data.pair(record)] == [[255, 0, 0], [90, 90, 90]]
    assert [record.source for record in data.records("val")] == ["val/input/b.png"]


def test_composed_and_decomposed_accents_are_one_name(tmp_path: Path) -> None:
    save(tmp_path / "train/input/\u00e4.png", "red")
    save(tmp_path / "train/target/a\u0308.png", "blue")
    data = PairedFolder(tmp_path)
    (record,) = data.records("train")
    assert colour(data.pair(record)[1]) == [0, 0, 255]


def test_half_a_pair_and_two_of_a_name_are_faults(tmp_path: Path) -> None:
    for name in ("input/a.png", "target/b.png", "input/c.png", "input/c.bmp", "target/c.png"):
        save(tmp_path / "train" / name, "red")
    faults = [record.fault for record in PairedFolder(tmp_path).records("train")]
    assert faults == [
        "there is no target of this name",
        "there is no input of this name",
        "one name for several pictures: c.bmp, c.png",
    ]


@pytest.mark.parametrize("halves", ["input-left", "target-left"])
def test_both_halves_in_one_file(tmp_path: Path, halves: str) -> None:
    joint(tmp_path / "val" / "1.png")
    data = PairedFolder(tmp_path, "input-left" if halves == "input-left" else "target-left")
    (record,) = data.records("val")
    sides = data.pair(record)
    colours = [colour(side) for side in sides]
    assert colours == ([[255, 0, 0], [0, 0, 255]] if halves == "input-left" else [[0, 0, 255], [255, 0, 0]])
    assert [side.shape for side in sides] == [(4, 4, 3)] * 2


def test_an_odd_width_has_no_halves(tmp_path: Path) -> None:
    joint(tmp_path / "train" / "odd.png", width=7)
    data = PairedFolder(tmp_path)
    with pytest.raises(DataError, match=r"odd\.png: 7 pixels wide"):
        data.pair(data.records("train")[0])


def test_without_splits_one_name_in_ten_is_for_val_and_stays_there(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.png").touch()
    before = {record.source for record in PairedFolder(tmp_path).records("val")}
    train = {record.source for record in PairedFolder(tmp_path).records("train")}
    assert not before & train and len(before | train) == 300 and 15 <= len(before) <= 45
    for number in range(300, 400):
        (tmp_path / f"{number}.png").touch()
    after = {record.source for record in PairedFolder(tmp_path).records("val")}
    assert before <= after and not after & train


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        PairedFolder(tmp_path / "nowhere")
    save(tmp_path / "train/input/a.png", "red")
    data = PairedFolder(tmp_path)
    for split, message in (
        ("val", "no folder of the split 'val', only of train; add one$"),
        ("train", "train/input: no folder of targets belongs to it; add one of the same form"),
        ("unlabeled", "no split 'unlabeled', only train, val, test"),
    ):
        with pytest.raises(DataError, match=message):
            data.records(split)
