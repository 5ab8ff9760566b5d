"""Links, copies and irregular files in the preparation of every format."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.data.classes import Classes
from palimpsest.data.coco import CocoFolder
from palimpsest.data.manifest import Digests, write_manifest
from palimpsest.data.paired import PairedFolder
from palimpsest.data.pictures import Limits, Pixels
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import SampleSpec
from palimpsest.data.targets import TARGETS
from palimpsest.data.voc import VocFolder
from palimpsest.errors import DataError


def accept(picture: Pixels) -> str | None:
    return None


def draw(path: Path, seed: int, size: tuple[int, int] = (16, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


BOX = [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]]


def coco(root: Path, listed: Mapping[str, list[str]]) -> CocoFolder:
    """Return a data set whose JSON lists these files by split."""
    for split, files in listed.items():
        images = [{"id": number, "file_name": name} for number, name in enumerate(files, 1)]
        marks = [
            {"id": image["id"], "image_id": image["id"], "category_id": 1, "segmentation": BOX} for image in images
        ]
        path = root / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        categories = [{"id": 1, "name": "left", "supercategory": "side"}]
        path.write_text(json.dumps({"images": images, "annotations": marks, "categories": categories}))
    return CocoFolder(root)


def voc(root: Path, listed: Mapping[str, list[str]]) -> VocFolder:
    """Return a data set whose lists contain these names by split, each with a label map."""
    home = root / "VOCdevkit" / "VOC2012"
    for split, names in listed.items():
        path = home / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names))
        for name in names:
            (home / "SegmentationClass").mkdir(exist_ok=True)
            Image.new("L", (16, 12), 1).save(home / "SegmentationClass" / f"{name}.png")
    return VocFolder(root)


def prepared_from(dataset: Any, out: Path, target: Any, share: float = 0.0, **options: Any) -> Prepared:
    classes = Classes(("background", "left"), {"left": 1, "aeroplane": 1}) if target == "labels" else None
    splits = options.pop("splits", {"train": ("train", None), "val": ("val", None)})
    prepare(
        dataset,
        out,
        splits,
        SampleSpec(8, TARGETS.get(target), classes, options.pop("limits", Limits())),
        refuse=accept,
        log=lambda line: None,
        max_broken_share=share,
        **options,
    )
    return Prepared.open(out)


def linked(root: Path, folder: str, train: str, val: str) -> None:
    """Write photographs, a link to a parent folder, and in val a link to a photograph of train and a copy."""
    for number in range(12):
        draw(root / folder / train / f"t{number:02}.png", number)
    for number in range(3):
        draw(root / folder / val / f"v{number}.png", 100 + number)
    for parent in {root / folder / train, root / folder / val}:
        if not (parent / "again").exists():
            (parent / "again").symlink_to("..")
    (root / folder / val / "w.png").symlink_to(root / folder / train / "t00.png")
    shutil.copy(root / folder / train / "t01.png", root / folder / val / "x.png")


T = [f"t{number:02}" for number in range(12)]


def test_links_and_copies_of_coco_without_annotations_count_once(tmp_path: Path) -> None:
    linked(tmp_path / "raw", "", "train2017", "val2017")
    after = prepared_from(CocoFolder(tmp_path / "raw"), tmp_path / "task", None)
    assert after.sources == tuple(f"train2017/{name}.png" for name in T) + tuple(
        f"val2017/v{number}.png" for number in range(3)
    )
    assert after.info["splits"]["train"] == {"from": "train", "pictures": 12, "refused": 0, "broken": 0}
    assert after.info["splits"]["val"]["copies"] == 2
    assert [(entry["source"], entry["kind"], entry["reason"]) for entry in after.info["left_out"]] == [
        ("val2017/w.png", "copy", "the same picture as train2017/t00.png in train"),
        ("val2017/x.png", "copy", "the same picture as train2017/t01.png in train"),
    ]


def test_links_and_copies_of_coco_with_annotations_count_once(tmp_path: Path) -> None:
    linked(tmp_path / "raw", "", "train2017", "val2017")
    (tmp_path / "raw/train2017/link.png").symlink_to("t02.png")
    names = [f"{name}.png" for name in T]
    listed = {
        "train": [*names, "link.png", "again/train2017/t03.png", "../train2017/t04.png"],
        "val": ["v0.png", "v1.png", "v2.png", "w.png", "x.png", "../train2017/t05.png"],
    }
    after = prepared_from(coco(tmp_path / "raw", listed), tmp_path / "task", "labels")
    assert [after.splits.count(split) for split in ("train", "val")] == [12, 3]
    assert after.info["splits"]["train"]["copies"] == 3 and after.info["splits"]["val"]["copies"] == 3


def test_links_and_copies_of_voc_count_once(tmp_path: Path) -> None:
    linked(tmp_path / "raw", "VOCdevkit/VOC2012", "JPEGImages", "JPEGImages")
    after = prepared_from(
        voc(tmp_path / "raw", {"train": [*T, "w"], "val": ["v0", "v1", "v2", "x"]}), tmp_path / "task", "labels"
    )
    assert [after.splits.count(split) for split in ("train", "val")] == [12, 3]
    assert [entry["source"] for entry in after.info["left_out"]] == ["JPEGImages/w.png", "JPEGImages/x.png"]


@pytest.mark.parametrize("role", ["", "input"])
def test_links_and_copies_of_pairs_count_once(tmp_path: Path, role: str) -> None:
    linked(tmp_path / "raw", "", f"train/{role}", f"val/{role}")
    if role:
        for picture in sorted((tmp_path / "raw").glob("*/input/*.png")):
            target = tmp_path / "raw" / picture.parent.parent.name / "target"
            draw(target / picture.name, 7)  # pairs of one input are equal
    layout = "auto" if role else "side-by-side"
    after = prepared_from(PairedFolder(tmp_path / "raw", layout=layout), tmp_path / "task", "picture")  # type: ignore[arg-type]
    assert [after.splits.count(split) for split in ("train", "val")] == [12, 3]
    assert after.info["splits"]["val"]["copies"] == 2


def test_a_pair_with_two_linked_names_counts_once(tmp_path: Path) -> None:
    for side in ("input", "target"):
        for name in ("a", "b"):
            draw(tmp_path / "raw/train" / side / f"{name}.png", ord(name))
        (tmp_path / "raw/train" / side / "c.png").symlink_to("a.png")
    (tmp_path / "raw/train/input/d.png").symlink_to("a.png")
    draw(tmp_path / "raw/train/target/d.png", 9)  # another target of the same input is another pair
    after = prepared_from(
        PairedFolder(tmp_path / "raw"), tmp_path / "task", "picture", splits={"train": ("train", None)}
    )
    assert after.sources == ("train/input/a.png", "train/input/b.png", "train/input/d.png")


def test_copies_in_a_split_are_kept_and_equal_broken_files_are_no_copies(tmp_path: Path) -> None:
    for name in ("train2017/a", "train2017/b", "val2017/c"):
        draw(tmp_path / "raw" / f"{name}.png", 1 if "train" in name else 2)
        (tmp_path / "raw" / Path(name).parent / "empty.png").touch()
    after = prepared_from(CocoFolder(tmp_path / "raw"), tmp_path / "task", None, share=0.5)
    assert after.sources == ("train2017/a.png", "train2017/b.png", "val2017/c.png")
    assert [after.info["splits"][split]["broken"] for split in ("train", "val")] == [1, 1]


def test_the_manifest_identifies_copies_without_reading_files_again(tmp_path: Path) -> None:
    for number, name in enumerate(("train2017/a", "val2017/b")):
        draw(tmp_path / "raw" / f"{name}.png", number)
    files = {
        path.relative_to(tmp_path / "raw").as_posix(): {"bytes": path.stat().st_size, "sha256": "alike"}
        for path in (tmp_path / "raw").rglob("*.png")
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    message = r"val from 'val': no pictures \(all 1 are also in an earlier split\); "
    with pytest.raises(DataError, match=message):
        prepared_from(
            CocoFolder(tmp_path / "raw"),
            tmp_path / "task",
            None,
            digests=Digests(tmp_path / "raw", tmp_path / "manifest.json"),
        )


@pytest.mark.parametrize("form", ["coco", "coco with JSON", "voc", "pairs"])
def test_a_broken_link_is_a_missing_picture(tmp_path: Path, form: str) -> None:
    root = tmp_path / "raw"
    folder = {"voc": "VOCdevkit/VOC2012/JPEGImages", "pairs": "train/input"}.get(form, "train2017")
    for number in range(3):
        draw(root / folder / f"{number}.png", number)
    (root / folder / "gone.png").symlink_to("/mnt/gone.png")
    os.mkfifo(root / folder / "pipe.png")
    listed = [*(f"{number}.png" for number in range(3)), "gone.png"]
    dataset: Any
    if form == "voc":
        dataset = voc(root, {"train": [Path(name).stem for name in listed]})
    elif form == "pairs":
        for number, name in enumerate(listed):
            draw(root / "train/target" / name, number)
        dataset = PairedFolder(root)
    else:
        dataset = coco(root, {"train": listed}) if form == "coco with JSON" else CocoFolder(root)
    target = {"pairs": "picture", "coco": None}.get(form, "labels")
    splits = {"train": ("train", None)}
    after = prepared_from(dataset, tmp_path / "task", target, share=0.25, splits=splits)
    assert after.info["splits"]["train"] == {"from": "train", "pictures": 3, "refused": 0, "broken": 1}
    (left,) = after.info["left_out"]
    assert left["kind"] == "broken" and re.search(r"gone\.(png|jpg): no such file", left["reason"])
    with pytest.raises(DataError, match="1 of 4 pictures are broken"):
        prepared_from(dataset, tmp_path / "other", target, share=0.2, splits=splits)
    write_manifest(root, tmp_path / "manifest.json")


def test_a_named_pipe_in_the_annotations_is_broken_and_does_not_block(tmp_path: Path) -> None:
    draw(tmp_path / "raw/train2017/a.png", 1)
    os.mkfifo(tmp_path / "raw/train2017/pipe.png")
    dataset = coco(tmp_path / "raw", {"train": ["a.png", "pipe.png"]})
    after = prepared_from(dataset, tmp_path / "task", None, share=0.5, splits={"train": ("train", None)})
    assert "pipe.png: not a regular file" in after.info["left_out"][0]["reason"]


def test_a_picture_above_the_limit_is_broken(tmp_path: Path) -> None:
    for number, size in enumerate([(16, 12), (40, 30)]):
        draw(tmp_path / "raw/train2017" / f"{number}.png", number, size)
    after = prepared_from(
        CocoFolder(tmp_path / "raw"),
        tmp_path / "task",
        None,
        share=0.5,
        splits={"train": ("train", None)},
        limits=Limits(0.001),
    )
    assert after.info["left_out"][0]["reason"] == (
        "train2017/1.png: 40×30 pixels are 0.0012 megapixels, and the limit is 0.001; scale the picture down or "
        "raise pictures.max_megapixels"
    )


def test_an_input_with_another_target_is_no_copy(tmp_path: Path) -> None:
    for split, numbers in (("train", (1, 2)), ("val", (3, 4))):
        for number in numbers:
            draw(tmp_path / f"raw/{split}/input/{number}.png", 0)  # one input by content
            draw(tmp_path / f"raw/{split}/target/{number}.png", number)
    (tmp_path / "raw/val/input/5.png").symlink_to("../../train/input/1.png")  # the same file
    draw(tmp_path / "raw/val/target/5.png", 5)
    draw(tmp_path / "raw/val/input/6.png", 0)
    draw(tmp_path / "raw/val/target/6.png", 1)  # the pair 1 by content
    after = prepared_from(PairedFolder(tmp_path / "raw"), tmp_path / "task", "picture")
    assert [after.splits.count(split) for split in ("train", "val")] == [2, 3]
    assert [(entry["source"], entry["reason"]) for entry in after.info["left_out"]] == [
        ("val/input/6.png", "the same pair as train/input/1.png in train")
    ]


def test_the_last_split_is_not_hashed(tmp_path: Path) -> None:
    draw(tmp_path / "raw/train2017/a.png", 0)
    asked: list[Path] = []

    class Counted(Digests):
        def __call__(self, path: Path) -> str | None:
            asked.append(path)
            return super().__call__(path)

    options = {"splits": {"train": ("train", None)}, "digests": Counted(tmp_path / "raw")}
    prepared_from(CocoFolder(tmp_path / "raw"), tmp_path / "task", None, **options)
    assert not asked
