from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from palimpsest.data.voc import VOC_CLASSES, VocFolder, palette
from palimpsest.errors import DataError

REAL = Path(__file__).parents[2] / ".." / "shared" / "realdata" / "voc"

EVERY = {name: label for label, name in enumerate(VOC_CLASSES, start=1)}

MAP = np.array([[0, 1, 15, 255], [0, 8, 20, 12]], np.uint8)


def indexed(labels: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(labels, "P")
    picture.putpalette(palette().ravel().tolist())
    return picture


def folder(root: Path, labels: Image.Image, orientation: int = 1, stored: tuple[int, int] = (4, 2)) -> VocFolder:
    home = root / "VOCdevkit" / "VOC2012"
    for subfolder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / subfolder).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", stored).save(home / "JPEGImages" / "2007_1.jpg", exif=exif)
    labels.save(home / "SegmentationClass" / "2007_1.png")
    (home / "ImageSets" / "Segmentation" / "train.txt").write_bytes(b"\xef\xbb\xbf2007_1\r\n\r\n")
    (home / "ImageSets" / "Segmentation" / "val.txt").write_text("")
    return VocFolder(root)


def read(data: VocFolder, class_of: dict[str, int] = EVERY, other_label: int = 0) -> list[list[int]]:
    (record,) = data.records("train")
    result: list[list[int]] = data.label_map(record, class_of, other_label).tolist()
    return result


def test_the_palette_is_that_of_voc() -> None:
    assert palette()[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


def test_labels_keep_background_and_border(tmp_path: Path) -> None:
    data = folder(tmp_path, indexed(MAP))
    assert read(data) == MAP.tolist()
    assert read(data, {"person": 1, "cat": 2}) == [[0, 0, 1, 255], [0, 2, 0, 0]]
    assert read(data, {"person": 1, "cat": 2}, other_label=255) == [[0, 255, 1, 255], [0, 2, 255, 255]]


@pytest.mark.parametrize("kind", ["colours", "grey levels", "sorted palette", "sixteen bits"])
def test_maps_of_other_modes_have_equal_labels(tmp_path: Path, kind: str) -> None:
    picture = {
        "colours": lambda: indexed(MAP).convert("RGB"),
        "grey levels": lambda: Image.fromarray(MAP),
        "sorted palette": lambda: indexed(MAP).remap_palette([255, 20, 15, 12, 8, 1, 0]),
        "sixteen bits": lambda: Image.fromarray(MAP.astype(np.uint16)),
    }[kind]()
    assert read(folder(tmp_path, picture)) == MAP.tolist()


def test_a_palette_of_other_colours_changes_no_label(tmp_path: Path) -> None:
    picture = Image.fromarray(MAP, "P")
    picture.putpalette([level for level in range(256) for _ in range(3)])
    assert read(folder(tmp_path, picture)) == MAP.tolist()


def test_label_200_and_unknown_colours_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2007_1\.png: label 200"):
        read(folder(tmp_path / "a", indexed(np.array([[0, 200]], np.uint8))))
    with pytest.raises(DataError, match=r"2007_1\.png: colour \(1, 2, 3\)"):
        read(folder(tmp_path / "b", Image.new("RGB", (4, 2), (1, 2, 3))))


def test_a_map_of_another_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2007_1\.png.*4×2.*9×9"):
        read(folder(tmp_path, indexed(MAP), stored=(9, 9)))


def test_labels_follow_the_exif_orientation(tmp_path: Path) -> None:
    turned = [[0, 0], [8, 1], [20, 15], [12, 255]]
    assert read(folder(tmp_path / "a", indexed(MAP), orientation=6)) == turned
    shown = np.array(turned, np.uint8)
    assert read(folder(tmp_path / "b", indexed(shown), orientation=6)) == turned


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"VOCdevkit.VOC2012.ImageSets.Segmentation: no such folder"):
        VocFolder(tmp_path)
    data = folder(tmp_path, indexed(MAP))
    assert data.records("val") == []
    with pytest.raises(DataError, match=r"test\.txt: no such file"):
        data.records("test")
    (record,) = data.records("train")
    (tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_1.png").unlink()
    with pytest.raises(DataError, match=r"2007_1\.png: no such file"):
        data.label_map(record, EVERY, 0)


def test_groups_are_those_of_the_challenge(tmp_path: Path) -> None:
    groups = folder(tmp_path, indexed(MAP)).categories
    members = {group: [name for name in groups if groups[name] == group] for group in groups.values()}
    assert {group: len(names) for group, names in members.items()} == {
        "person": 1,
        "animal": 6,
        "vehicle": 7,
        "indoor": 6,
    }
    assert VOC_CLASSES[14] == "person" and VOC_CLASSES[19] == "tvmonitor"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
def test_real_maps_contain_labels_of_voc() -> None:
    data = VocFolder(REAL)
    assert len(data.records("train")) == 1211
    records = data.records("val")
    assert len(records) == 383
    for record in records:
        values = np.unique(data.label_map(record, EVERY, 0))
        assert values[-1] == 255 and values[-2] <= 20


@pytest.mark.parametrize("ending", [".jfif", ""])
def test_photographs_with_other_suffixes_or_none_are_read(tmp_path: Path, ending: str) -> None:
    data = folder(tmp_path, indexed(MAP))
    photograph = tmp_path / "VOCdevkit/VOC2012/JPEGImages/2007_1.jpg"
    photograph.rename(photograph.with_name(f"2007_1{ending}"))
    assert [record.source for record in data.records("train")] == [f"JPEGImages/2007_1{ending}"]
    assert read(data) == MAP.tolist()
