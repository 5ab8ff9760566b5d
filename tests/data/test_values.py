"""Targets with one number per pixel."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.arrays import Prepared, write_prepared
from palimpsest.data.paired import PairedFolder
from palimpsest.data.pictures import DEFAULT_LIMITS, Limits
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import SampleSpec, ValueScale
from palimpsest.data.targets import VALUES
from palimpsest.data.values import converted, read_numbers
from palimpsest.errors import DataError, SettingsError
from palimpsest.params import resolve

NUMBERS = np.array([[0, 1, 256], [4000, 10000, 65535]])


def test_numbers_of_a_16_bit_picture_are_read_as_stored(tmp_path: Path) -> None:
    Image.fromarray(NUMBERS.astype(np.uint16)).save(tmp_path / "a.png")
    assert np.array_equal(read_numbers(tmp_path / "a.png", DEFAULT_LIMITS), NUMBERS)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (2, 3, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_numbers_of_an_array_are_read_as_stored(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    np.save(tmp_path / "a.npy", NUMBERS.astype(dtype).reshape(shape))
    assert np.array_equal(read_numbers(tmp_path / "a.npy", DEFAULT_LIMITS), NUMBERS)


def test_a_target_is_rotated_by_its_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(NUMBERS.astype(np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_numbers(tmp_path / "a.png", DEFAULT_LIMITS), np.rot90(NUMBERS, -1))


def test_files_without_one_number_per_pixel_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "colour.png")
    np.save(tmp_path / "many.npy", np.zeros((2, 3, 4)))
    np.save(tmp_path / "large.npy", np.zeros((20, 30)))
    (tmp_path / "empty.npy").write_bytes(b"")
    for name, message in (
        ("colour.png", "RGB has several numbers per pixel"),
        ("many.npy", r"expected one number per pixel, found float64 \(2, 3, 4\); save"),
        ("large.npy", "megapixels"),
        ("empty.npy", "cannot be read"),
        ("absent.npy", "no such file"),
    ):
        with pytest.raises(DataError, match=rf"{name}: .*{message}"):
            read_numbers(tmp_path / name, Limits(0.0001))


def test_values_outside_the_valid_range_become_nan() -> None:
    values = converted(np.array([0, 500, 1000, 9000, 12000, np.inf, np.nan]), ValueScale(0.001, (0.5, 9)))
    assert values.dtype == np.float32
    assert np.array_equal(values, np.array([np.nan, 0.5, 1, 9] + 3 * [np.nan], np.float32), equal_nan=True)


def pairs(root: Path, levels: dict[str, int]) -> PairedFolder:
    for name, level in levels.items():
        for role, picture in (
            ("input", Image.new("RGB", (12, 8), (level // 100, 0, 0))),
            ("target", Image.fromarray(np.full((8, 12), level, np.uint16))),
        ):
            (root / "train" / role).mkdir(parents=True, exist_ok=True)
            picture.save(root / "train" / role / f"{name}.png")
    return PairedFolder(root)


def test_pairs_become_arrays_of_values_and_one_without_valid_values_is_left_out(tmp_path: Path) -> None:
    data, lines = pairs(tmp_path / "raw", {"a": 1000, "b": 3000, "c": 0}), list[str]()
    spec = SampleSpec(4, VALUES, values=ValueScale(0.001, (0.5, 9)))
    prepare(
        data,
        tmp_path / "task",
        {"train": ("train", None)},
        spec,
        refuse=lambda _: None,
        log=lines.append,
        max_broken_share=0.5,
    )
    prepared = Prepared.open(tmp_path / "task")
    assert prepared.target_type == VALUES and prepared.target is not None
    assert prepared.target.shape == (2, 4, 4, 1) and prepared.target.dtype == np.float32
    assert prepared.target[:, 0, 0, 0].tolist() == [1, 3]
    assert prepared.info["values"] == {"train": {"valid": 1.0, "lowest": 1.0, "mean": 2.0, "highest": 3.0}}
    assert prepared.counts()["values/train/mean"] == 2
    assert [entry["source"] for entry in prepared.info["left_out"]] == ["train/input/c.png"]
    assert "no value is valid (0.5 to 9" in prepared.info["left_out"][0]["reason"].replace("from ", "")
    assert any("100.0% of the pixels have a valid value, from 1 to 3, mean 2" in line for line in lines)


def test_targets_in_folders_of_pairs_may_be_arrays(tmp_path: Path) -> None:
    data = pairs(tmp_path / "raw", {"a": 1000, "b": 2000})
    targets = tmp_path / "raw" / "train" / "target"
    (targets / "a.png").unlink()
    for name in ("a", "b"):  # arrays beside pictures of their name are ignored
        np.save(targets / f"{name}.npy", np.full((8, 12), 7.5))
    read = [data.read(record, SampleSpec(4, VALUES)).target for record in data.records("train")]
    assert [float(values[0, 0, 0]) for values in read if values is not None] == [7.5, 2000]


def test_a_target_of_another_shape_than_its_picture_is_broken(tmp_path: Path) -> None:
    data = pairs(tmp_path / "raw", {"a": 1000})
    Image.fromarray(np.full((12, 8), 7, np.uint16)).save(tmp_path / "raw/train/target/a.png")
    (record,) = data.records("train")
    with pytest.raises(DataError, match=r"target/a\.png: 8×12 pixels, but its picture has 12×8; make the ratios"):
        data.read(record, SampleSpec(4, VALUES))


def test_damaged_arrays_of_values_are_refused(tmp_path: Path) -> None:
    with write_prepared(tmp_path / "task", 2, VALUES) as rows:
        rows.add("train", "a", np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 1), math.nan, np.float32))
    assert np.isnan(Prepared.open(tmp_path / "task").target).all()  # type: ignore[arg-type]
    np.save(tmp_path / "task" / "target.npy", np.zeros((1, 2, 2, 1), np.float64))
    with pytest.raises(
        DataError, match=r"target\.npy: expected float32 values, found float64 \(1, 2, 2, 1\); delete"
    ):
        Prepared.open(tmp_path / "task")


def test_the_range_of_a_picture_is_refused_for_values(content: dict[str, Any]) -> None:
    datasets = {"mine": {"format": "paired", "source": "directory", "root": "x", "target_range": [0, 9]}}
    tasks = {"mine": {"kind": "depth", "data": "mine", "range": [1, 9]}}
    with pytest.raises(SettingsError, match=r"^datasets\.mine: mine cannot learn from it: target_range turns"):
        resolve(content, {"datasets": datasets, "tasks": tasks, "sequence": ["shapes", "mine"]})
