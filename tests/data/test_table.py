"""Data sets that a table lists."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from palimpsest.data.classes import Classes
from palimpsest.data.formats import settings_of_format
from palimpsest.data.reader import SampleSpec
from palimpsest.data.table import TableFolder
from palimpsest.data.targets import LABELS, PICTURE, VALUES
from palimpsest.errors import DataError, SettingsError
from palimpsest.params import resolve

ROWS = [("one.png", "one.x", "train"), ("two.png", "two.x", "val"), ("deep/three.png", "three.x", "train")]


def table(root: Path, **options: Any) -> TableFolder:
    values = {"format": "table", "source": "directory", "root": str(root), "table": "all.csv", **options}
    values.setdefault("columns", {"target": "target", "split": "split"})
    return TableFolder.of(settings_of_format("table").model_validate(values), root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name, *_ in ROWS:
        Image.new("RGB", (12, 8), "red").save(tmp_path / name)
    listed = pd.DataFrame(ROWS, columns=["picture", "target", "split"])
    listed.to_csv(tmp_path / "all.csv", index=False)
    listed.to_parquet(tmp_path / "all.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_rows_are_records_of_their_split_in_order(root: Path, name: str) -> None:
    records = table(root, table=name).records("train")
    assert [record.source for record in records] == ["one.png", "deep/three.png"]
    assert [record.target for record in records] == [root / "one.x", root / "three.x"]
    assert not any(record.fault for record in records)


def test_each_split_may_have_its_table_and_column_names(root: Path) -> None:
    (root / "a.csv").write_text("\ufefffile,x\none.png,1\n", "utf-8")
    (root / "b.csv").write_text("x,file\n2,two.png\n", "utf-8")
    data = table(root, table={"train": "a.csv", "val": "b.csv"}, columns={"picture": "file"})
    assert [data.records(split)[0].source for split in ("train", "val")] == ["one.png", "two.png"]
    assert data.records("train")[0].target is None
    assert data.read(data.records("val")[0], SampleSpec(4)).picture[0, 0].tolist() == [255, 0, 0]


def test_faulty_rows_are_records_with_a_reason(root: Path) -> None:
    (root / "all.csv").write_text("picture,target,split\n,a,train\none.png,,train\n../b.png,a,train\n")
    faults = [record.fault or "" for record in table(root).records("train")]
    for fault, expected in zip(faults, ("lacks a picture", "lacks a target", "outside the data set"), strict=True):
        assert expected in fault
    assert faults[2].startswith("row 3 of the table: ../b.png is outside")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "none.csv"}, r"none\.csv: no such file"),
        (
            {"columns": {"target": "trget", "split": "split"}},
            r"unknown column 'trget' in columns; did you mean 'target'",
        ),
        ({"table": "one.png"}, r"one\.png: cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(root, **options).records("train")


def test_a_split_is_read_without_the_tables_of_other_splits(root: Path) -> None:
    data = table(root, table={"train": "all.csv", "val": "lost.csv"}, columns={})
    assert len(data.records("train")) == len(ROWS)


def test_an_unknown_split_is_refused_with_the_nearest(root: Path) -> None:
    with pytest.raises(DataError, match=r"unknown split 'trian' in tasks\.NAME\.splits; did you mean 'train'"):
        table(root).records("trian")
    with pytest.raises(DataError, match="unknown split 'test'"):
        table(root, table={"train": "all.csv"}, columns={}).records("test")


def test_numbers_of_label_maps_become_the_labels_of_classes(root: Path) -> None:
    Image.fromarray(np.repeat(np.array([[0, 7, 26, 9, 255, 40]], np.uint8), 2, 1).repeat(8, 0)).save(
        root / "one.x", "PNG"
    )
    data = table(root, labels={"road": 7, "car": 26, "sky": 9})
    assert data.categories == {"road": "road", "car": "car", "sky": "sky"}
    record = data.records("train")[0]
    for other_label in (0, 255):
        classes = Classes(("background", "ways", "vehicle"), {"road": 1, "car": 2}, other_label)
        sample = data.read(record, SampleSpec(8, LABELS, classes))
        assert sample.labels is not None
        assert sample.labels.map[0, ::2].tolist() == [0, 1, 2, other_label, 255, other_label]
        assert sample.target is not None and sample.target.shape == (8, 8) and sample.target.dtype == np.uint8
    assert "7 (16.67%)" in data.contents([record], ["sky"]) and "9 for 'sky'" in data.contents([record], ["sky"])


def test_pictures_and_values_are_read_as_the_task_needs_them(root: Path) -> None:
    data = table(root)
    record = data.records("train")[0]
    Image.new("RGB", (24, 16), "blue").save(root / "one.x", "PNG")
    target = data.read(record, SampleSpec(4, PICTURE)).target
    assert target is not None and target.shape == (4, 4, 3) and target[0, 0].tolist() == [0, 0, 255]
    Image.fromarray(np.full((8, 12), 300, np.uint16)).save(root / "one.x", "PNG")
    target = data.read(record, SampleSpec(4, VALUES)).target
    assert target is not None and target.shape == (4, 4, 1) and target.dtype == np.float32 and target[0, 0] == 300
    Image.new("RGB", (8, 12)).save(root / "one.x", "PNG")
    with pytest.raises(DataError, match=r"one\.x: 8×12 pixels, but its picture has 12×8"):
        data.read(record, SampleSpec(4, PICTURE))


@pytest.mark.parametrize(
    ("dataset", "task", "message"),
    [
        ({"table": "a.csv"}, {"kind": "colorization"}, r"columns\.split: one table has all splits"),
        (
            {"table": {"train": "a.csv"}, "columns": {"split": "s"}},
            {"kind": "colorization"},
            "has a table of its own",
        ),
        ({"table": {"train": "a.csv"}}, {"kind": "depth", "range": [1, 9]}, r"set columns\.target"),
        (
            {"table": {"train": "a.csv"}, "columns": {"target": "t"}},
            {"kind": "segmentation", "classes": {"a": ["a"]}},
            r"set labels, as \{road: 1",
        ),
    ],
)
def test_inconsistent_settings_are_refused_before_any_work(
    content: dict[str, Any], dataset: dict[str, Any], task: dict[str, Any], message: str
) -> None:
    datasets = {"mine": {"format": "table", "source": "directory", "root": "x", **dataset}}
    with pytest.raises(SettingsError, match=rf"^datasets\.mine.*{message}"):
        resolve(
            content,
            {"datasets": datasets, "tasks": {"mine": {"data": "mine", **task}}, "sequence": ["shapes", "mine"]},
        )
