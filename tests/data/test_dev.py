"""The split `dev`, taken from `train`: no picture is in two splits, in any task."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.data.manifest import Digests
from palimpsest.data.paired import PairedFolder
from palimpsest.data.pictures import Pixels, Record
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import DatasetReader, Sample, SampleSpec, picture_sample
from palimpsest.data.selection import DevSelection
from palimpsest.data.targets import PICTURE
from palimpsest.errors import DataError


class Pictures(DatasetReader):
    """Data set of plain pictures in `train/` and `val/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def records(self, split: str) -> list[Record]:
        return [Record(f"{split}/{path.name}", path, path.stem) for path in sorted((self.root / split).iterdir())]

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        return picture_sample(record, spec)


def accept(picture: Pixels) -> str | None:
    return None


def paint(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    for number in range(300):
        paint(tmp_path / "pictures" / "train" / f"{number:03}.png", number)
    for number in range(300, 320):
        paint(tmp_path / "pictures" / "val" / f"{number:03}.png", number)
    return Pictures(tmp_path / "pictures")


def prepared(dataset: DatasetReader, folder: Path, limit: int | None = None, share: float = 0.1) -> Prepared:
    splits: dict[str, tuple[str, int | None]] = {"train": ("train", limit), "val": ("val", None)}
    prepare(dataset, folder, splits, SampleSpec(8), refuse=accept, log=lambda line: None, dev_share=share)
    return Prepared.open(folder)


def sources(arrays: Prepared, split: str) -> set[str]:
    return {arrays.sources[row] for row in arrays.rows(split)}


def test_dev_is_a_tenth_of_train_and_no_picture_is_in_two_splits(pictures: Pictures, tmp_path: Path) -> None:
    arrays = prepared(pictures, tmp_path / "prepared")
    train, dev, val = (sources(arrays, split) for split in ("train", "dev", "val"))
    assert not train & dev and not train & val and not dev & val
    assert train | dev == {record.source for record in pictures.records("train")}
    assert 0.05 < len(dev) / 300 < 0.15
    assert arrays.info["splits"]["train"]["pictures"] == len(train)
    assert arrays.info["splits"]["dev"] == {"from": "train", "pictures": len(dev), "refused": 0, "broken": 0}
    assert arrays.counts()["pictures/dev/pictures"] == len(dev)


def test_fewer_pictures_or_other_names_change_no_side(pictures: Pictures, tmp_path: Path) -> None:
    whole = prepared(pictures, tmp_path / "whole")
    some = prepared(pictures, tmp_path / "some", limit=100)
    assert sources(some, "dev") and sources(some, "dev") <= sources(whole, "dev")
    assert len(some.rows("train")) + len(some.rows("dev")) == 100
    for path in list((pictures.root / "train").iterdir()):
        path.rename(path.with_stem(f"renamed-{path.stem}"))
    renamed = prepared(pictures, tmp_path / "renamed")
    assert sources(renamed, "dev") == {
        source.replace("train/", "train/renamed-") for source in sources(whole, "dev")
    }


def test_copies_of_a_picture_are_all_in_dev_or_all_in_train(pictures: Pictures, tmp_path: Path) -> None:
    for path in list((pictures.root / "train").iterdir()):
        path.with_stem(f"copy-{path.stem}").write_bytes(path.read_bytes())
    arrays = prepared(pictures, tmp_path / "prepared")
    contents = [{arrays.picture[row].tobytes() for row in arrays.rows(split)} for split in ("train", "dev", "val")]
    assert len(arrays.rows("dev")) == 2 * len(contents[1])
    assert not contents[0] & contents[1] and not contents[0] & contents[2] and not contents[1] & contents[2]


def test_two_tasks_on_the_same_pictures_keep_the_same_pictures_apart(pictures: Pictures, tmp_path: Path) -> None:
    alone = prepared(pictures, tmp_path / "alone")
    root = tmp_path / "pairs"
    for path in (pictures.root / "train").iterdir():
        for name in ("input", "target"):
            paint(root / "train" / name / path.name, int(path.stem) if name == "input" else 1)
    for number in range(2):
        paint(root / "val" / "input" / f"{number}.png", 1000 + number)
        paint(root / "val" / "target" / f"{number}.png", 2000 + number)
    splits: dict[str, tuple[str, int | None]] = {"train": ("train", None), "val": ("val", None)}
    prepare(
        PairedFolder(root),
        tmp_path / "paired",
        splits,
        SampleSpec(8, PICTURE),
        refuse=accept,
        log=lambda line: None,
        dev_share=0.1,
    )
    pairs = Prepared.open(tmp_path / "paired")
    assert {Path(source).name for source in sources(pairs, "dev")} == {
        Path(source).name for source in sources(alone, "dev")
    }


def test_without_a_share_there_is_no_dev(pictures: Pictures, tmp_path: Path) -> None:
    arrays = prepared(pictures, tmp_path / "prepared", share=0)
    assert {*arrays.splits} == {"train", "val"}
    assert np.array_equal(arrays.rows("train"), np.arange(300))


def test_a_limit_that_leaves_no_picture_for_train_is_refused(pictures: Pictures, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none is left for train; use more pictures, or set pictures\.dev_share"):
        prepared(pictures, tmp_path / "prepared", limit=1, share=0.99)


def test_a_few_pictures_never_all_go_to_dev(tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / "train" / f"{number}.png", number)
    records = Pictures(tmp_path).records("train")
    assert not any(record in DevSelection(records, 1.0, Digests(tmp_path)) for record in records)
