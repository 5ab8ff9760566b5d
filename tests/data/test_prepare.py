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
from palimpsest.data.coco import CocoFolder
from palimpsest.data.manifest import Digests, write_manifest
from palimpsest.data.paired import PairedFolder
from palimpsest.data.pictures import Frame, Limits, Pixels, Record, is_grey
from palimpsest.data.prepare import Classes, class_mapping, prepare
from palimpsest.data.voc import GROUPS, VocFolder
from palimpsest.errors import DataError, SettingsError

REAL = Path(__file__).parents[2] / ".." / "shared" / "realdata"

CLASSES = Classes(("background", "left"), {"left": 1})


class Folder:
    """Pictures of one colour each, with label maps whose left half is class 1; some of them broken."""

    def __init__(self, root: Path, count: int, broken: tuple[int, ...] = (), grey: tuple[int, ...] = ()) -> None:
        self.root = root
        for number in range(count):
            level = (number, number, number) if number in grey else (number, 255, 0)
            Image.new("RGB", (12, 8), level).save(root / f"{number:03}.png")
            if number in broken:
                (root / f"{number:03}.png").write_bytes(b"")

    @property
    def categories(self) -> dict[str, str]:
        return {"left": "side"}

    def records(self, split: str) -> list[Record]:
        paths = sorted(self.root.glob("*.png"))
        return [Record(path.name, path, path.stem) for path in paths] if split != "none" else []

    def label_map(
        self, record: Record, class_of: Mapping[str, int], other: int, frame: Frame | None = None
    ) -> Pixels:
        labels = np.zeros((8, 12), np.uint8)
        labels[:, :6] = class_of["left"]
        return labels


def accept(picture: Pixels) -> str | None:
    return None


def refuse_grey(picture: Pixels) -> str | None:
    return "grey" if is_grey(picture) else None


def test_pictures_and_labels_are_cut_alike(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data, out, lines = Folder(tmp_path / "raw", 3), tmp_path / "task", list[str]()
    splits = {"train": ("all", None)}
    prepare(data, out, 4, splits, target="labels", refuse=accept, log=lines.append, classes=CLASSES)
    prepared = Prepared.open(out)
    assert prepared.picture[2, 0, 0].tolist() == [2, 255, 0]
    assert prepared.target is not None and prepared.target[1].tolist() == [[1, 1, 0, 0]] * 4
    assert prepared.sources == ("000.png", "001.png", "002.png")
    assert prepared.info["classes"] == ["background", "left"]
    assert prepared.info["splits"] == {"train": {"from": "all", "pictures": 3, "refused": 0, "broken": 0}}
    assert lines == ["train: 3 pictures, 0 refused, 0 broken"]


def test_what_is_refused_or_broken_is_replaced_counted_and_listed(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data, out, lines = Folder(tmp_path / "raw", 10, broken=(3,), grey=(5, 6)), tmp_path / "task", list[str]()
    prepare(
        data,
        out,
        4,
        {"train": ("all", None)},
        target=None,
        refuse=refuse_grey,
        log=lines.append,
        max_broken_share=0.1,
    )
    prepared = Prepared.open(out)
    assert len(prepared.picture) == 7 and prepared.target is None
    assert prepared.info["splits"]["train"] == {"from": "all", "pictures": 7, "refused": 2, "broken": 1}
    assert [(one["source"], one["kind"]) for one in prepared.info["left_out"]] == [
        ("003.png", "broken"),
        ("005.png", "refused"),
        ("006.png", "refused"),
    ]
    assert any("003.png left out, broken: 003.png: not a picture" in line for line in lines)
    assert str(tmp_path) not in (out / "info.json").read_text()


def test_above_the_share_broken_pictures_stop_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 100, broken=(7, 8))
    told = r"2 of 100 pictures are broken, and 1\.0% may be; .*broken_share: .*007\.png.*008\.png"
    with pytest.raises(DataError, match=told):
        prepare(data, tmp_path / "task", 4, {"train": ("all", None)}, target=None, refuse=accept, log=print)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_the_share_is_of_those_looked_at(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 100, broken=tuple(range(0, 100, 10)))
    with pytest.raises(DataError, match="pictures are broken"):
        prepare(
            data,
            tmp_path / "task",
            4,
            {"train": ("all", 20)},
            target=None,
            refuse=accept,
            log=print,
            max_broken_share=0.01,
        )


def test_a_limit_draws_the_same_ones_and_more_of_them(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 60)
    drawn = {}
    for limit in (10, 20):
        splits = {"train": ("all", limit)}
        prepare(data, tmp_path / str(limit), 4, splits, target=None, refuse=accept, log=print)
        drawn[limit] = Prepared.open(tmp_path / str(limit)).sources
    assert len({*drawn[20]}) == 20 and drawn[20][:10] == drawn[10]
    assert max(drawn[10]) > "030.png"


def test_no_photograph_is_in_two_splits(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 20)
    prepare(
        data,
        tmp_path / "task",
        4,
        {"train": ("all", 12), "val": ("all", None)},
        target=None,
        refuse=accept,
        log=print,
    )
    prepared = Prepared.open(tmp_path / "task")
    assert len(prepared.rows("train")) == 12 and len(prepared.rows("val")) == 8
    assert len({*prepared.sources}) == 20


@pytest.mark.parametrize(
    ("split", "grey", "message"),
    [("none", (), "no pictures .*; change the task's splits or images"), ("all", (0, 1), "000.png: grey")],
)
def test_an_empty_split_is_an_error(tmp_path: Path, split: str, grey: tuple[int, ...], message: str) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=f"train from '{split}'.*{message}"):
        prepare(
            Folder(tmp_path / "raw", 2, grey=grey),
            tmp_path / "task",
            4,
            {"train": (split, None)},
            target=None,
            refuse=refuse_grey,
            log=print,
        )


def test_pairs_are_resized_alike_and_must_have_one_shape(tmp_path: Path) -> None:
    for name, size in (("a", (16, 8)), ("b", (30, 8))):
        for side, colour, wanted in (("input", "red", (8, 4)), ("target", "blue", size)):
            (tmp_path / "raw" / "train" / side).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", wanted, colour).save(tmp_path / "raw" / "train" / side / f"{name}.png")
    prepare(
        PairedFolder(tmp_path / "raw"),
        tmp_path / "task",
        4,
        {"train": ("train", None)},
        target="picture",
        refuse=accept,
        log=print,
        max_broken_share=0.5,
    )
    prepared = Prepared.open(tmp_path / "task")
    assert prepared.target is not None and prepared.target[0, 0, 0].tolist() == [0, 0, 255]
    assert prepared.info["left_out"][0]["reason"].endswith("b.png: 8×4 pixels, but its target is 30×8")


def test_names_that_are_not_utf_8_are_read_and_listed_with_escapes(tmp_path: Path) -> None:
    """As of an archive packed under Latin-1 or Shift-JIS and unpacked on Linux."""
    latin = [os.fsdecode(name.encode("latin-1")) for name in ("café 1.png", "café 2.png")]
    for side in ("input", "target"):
        (tmp_path / "raw" / "train" / side).mkdir(parents=True)
        for name in latin:
            try:
                Image.new("RGB", (8, 8), "red").save(tmp_path / "raw" / "train" / side / name)
            except OSError:
                pytest.skip("this file system takes UTF-8 alone")
    (tmp_path / "raw" / "train" / "target" / latin[1]).write_bytes(b"")
    data, lines = PairedFolder(tmp_path / "raw"), list[str]()
    splits = {"train": ("train", 5)}
    out = tmp_path / "task"
    prepare(data, out, 4, splits, target="picture", refuse=accept, log=lines.append, max_broken_share=0.5)
    write_manifest(tmp_path / "raw", tmp_path / "manifest.json")
    prepared = Prepared.open(out)
    assert prepared.sources == (r"train/input/caf\udce9 1.png",)
    assert prepared.info["left_out"][0]["reason"].startswith(r"train/target/caf\udce9 2.png: not a picture")
    assert any(r"caf\udce9 2.png left out, broken" in line for line in lines)
    assert len(json.loads((tmp_path / "manifest.json").read_text("utf-8"))["files"]) == 4


def test_a_target_that_the_data_set_has_not_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for target, what in (("picture", "pairs"), ("labels", "class per pixel")):
        data = Folder(tmp_path / "raw", 1) if target == "picture" else PairedFolder(tmp_path / "raw")
        with pytest.raises(DataError, match=what):
            prepare(
                data,
                tmp_path / "task",
                4,
                {"train": ("train", None)},
                target="picture" if target == "picture" else "labels",
                refuse=accept,
                log=print,
                classes=CLASSES,
            )


def test_a_supercategory_stands_for_its_members() -> None:
    names, class_of = class_mapping({"beast": ["animal"], "seat": ["sofa", "chair"]}, GROUPS)
    assert names == ["background", "beast", "seat"]
    assert class_of == {
        **dict.fromkeys(("bird", "cat", "cow", "dog", "horse", "sheep"), 1),
        "sofa": 2,
        "chair": 2,
    }


def test_without_classes_each_category_is_one() -> None:
    names, class_of = class_mapping(None, GROUPS)
    assert len(names) == 21 and class_of["aeroplane"] == 1 and class_of["tvmonitor"] == 20


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": ["cta"]}, r"classes\.a: .*'cta'; did you mean 'cat'\?"),
        ({"a": ["Person"]}, "did you mean 'person'"),
        ({"a": ["qqqqqq"]}, "there are aeroplane, animal, "),
        ({"a": ["animal"], "b": ["cat"]}, r"classes\.b: 'cat' is in 'a' already"),
        ({"a": []}, r"classes\.a: no category"),
        ({"background": ["cat"]}, r"classes\.background"),
    ],
)
def test_impossible_classes_are_refused(classes: dict[str, list[str]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        class_mapping(classes, GROUPS)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
def test_real_photographs_become_arrays_and_the_same_ones_twice(tmp_path: Path) -> None:
    names, class_of = class_mapping(
        {"person": ["person"], "animal": ["animal"]}, CocoFolder(REAL / "coco").categories
    )
    for turn in ("one", "two"):
        prepare(
            CocoFolder(REAL / "coco"),
            tmp_path / turn,
            48,
            {"train": ("train", 60), "val": ("val", None)},
            target="labels",
            refuse=accept,
            log=lambda line: None,
            classes=Classes(tuple(names), class_of),
        )
    prepared = Prepared.open(tmp_path / "one")
    assert len(prepared.rows("train")) == 60 and len(prepared.rows("val")) == 133
    assert prepared.target is not None and {0, 1, 2} <= {*np.unique(prepared.target).tolist()} <= {
        0,
        1,
        2,
        255,
    }
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
def test_grey_photographs_are_left_out_where_the_task_refuses_them(tmp_path: Path) -> None:
    prepare(
        VocFolder(REAL / "voc"),
        tmp_path / "task",
        32,
        {"val": ("val", None)},
        target=None,
        refuse=refuse_grey,
        log=lambda line: None,
    )
    info = json.loads((tmp_path / "task" / "info.json").read_text())["splits"]["val"]
    assert info["refused"] >= 5 and info["pictures"] + info["refused"] == 383 and info["broken"] == 0


def draw(path: Path, seed: int, size: tuple[int, int] = (16, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


BOX = [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]]


def coco(root: Path, listed: Mapping[str, list[str]]) -> CocoFolder:
    """A data set whose JSON lists these files by split."""
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
    """A data set whose lists have these names by split, with a label map each."""
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
        8,
        splits,
        target=target,
        refuse=accept,
        log=lambda line: None,
        classes=classes,
        max_broken_share=share,
        **options,
    )
    return Prepared.open(out)


def linked(root: Path, folder: str, train: str, val: str) -> None:
    """Twelve photographs, a link back to a folder above, a link to a file, and a copy of one in val."""
    for number in range(12):
        draw(root / folder / train / f"t{number:02}.png", number)
    for number in range(3):
        draw(root / folder / val / f"v{number}.png", 100 + number)
    for place in {root / folder / train, root / folder / val}:
        if not (place / "again").exists():
            (place / "again").symlink_to("..")
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
    assert [(one["source"], one["kind"], one["reason"]) for one in after.info["left_out"]] == [
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
    assert [one["source"] for one in after.info["left_out"]] == ["JPEGImages/w.png", "JPEGImages/x.png"]


@pytest.mark.parametrize("role", ["", "input"])
def test_links_and_copies_of_pairs_count_once(tmp_path: Path, role: str) -> None:
    linked(tmp_path / "raw", "", f"train/{role}", f"val/{role}")
    if role:
        for picture in sorted((tmp_path / "raw").glob("*/input/*.png")):
            target = tmp_path / "raw" / picture.parent.parent.name / "target"
            draw(target / picture.name, len(picture.name))
    layout = "auto" if role else "side-by-side"
    after = prepared_from(PairedFolder(tmp_path / "raw", layout=layout), tmp_path / "task", "picture")  # type: ignore[arg-type]
    assert [after.splits.count(split) for split in ("train", "val")] == [12, 3]
    assert after.info["splits"]["val"]["copies"] == 2


def test_one_pair_under_two_linked_names_counts_once(tmp_path: Path) -> None:
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


def test_copies_within_a_split_are_taken_and_broken_files_of_one_content_are_no_copies(tmp_path: Path) -> None:
    for name in ("train2017/a", "train2017/b", "val2017/c"):
        draw(tmp_path / "raw" / f"{name}.png", 1 if "train" in name else 2)
        (tmp_path / "raw" / Path(name).parent / "empty.png").touch()
    after = prepared_from(CocoFolder(tmp_path / "raw"), tmp_path / "task", None, share=0.5)
    assert after.sources == ("train2017/a.png", "train2017/b.png", "val2017/c.png")
    assert [after.info["splits"][split]["broken"] for split in ("train", "val")] == [1, 1]


def test_the_manifest_tells_copies_apart_without_reading_files_again(tmp_path: Path) -> None:
    for number, name in enumerate(("train2017/a", "val2017/b")):
        draw(tmp_path / "raw" / f"{name}.png", number)
    files = {
        path.relative_to(tmp_path / "raw").as_posix(): {"bytes": path.stat().st_size, "sha256": "alike"}
        for path in (tmp_path / "raw").rglob("*.png")
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    told = r"val from 'val': there are no pictures that no other split has \(all 1 are in an earlier split too\); "
    with pytest.raises(DataError, match=told):
        prepared_from(
            CocoFolder(tmp_path / "raw"),
            tmp_path / "task",
            None,
            digests=Digests(tmp_path / "raw", tmp_path / "manifest.json"),
        )


@pytest.mark.parametrize("form", ["coco", "coco with JSON", "voc", "pairs"])
def test_a_link_to_nothing_is_one_missing_picture(tmp_path: Path, form: str) -> None:
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


def test_a_named_pipe_that_annotations_list_is_broken_and_not_waited_for(tmp_path: Path) -> None:
    draw(tmp_path / "raw/train2017/a.png", 1)
    os.mkfifo(tmp_path / "raw/train2017/pipe.png")
    dataset = coco(tmp_path / "raw", {"train": ["a.png", "pipe.png"]})
    after = prepared_from(dataset, tmp_path / "task", None, share=0.5, splits={"train": ("train", None)})
    assert "pipe.png: no regular file" in after.info["left_out"][0]["reason"]


def test_all_are_broken_where_all_are(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 8, broken=tuple(range(8)))
    with pytest.raises(DataError, match="8 of 8 pictures are broken, "):
        prepare(data, tmp_path / "task", 4, {"train": ("all", None)}, target=None, refuse=accept, log=print)


def test_so_many_are_looked_at_before_broken_ones_end_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palimpsest.data.selection.ENOUGH", 10)
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 40, broken=tuple(range(20)))
    with pytest.raises(DataError, match="10 of the first 10 pictures are broken, "):
        prepare(data, tmp_path / "task", 4, {"train": ("all", None)}, target=None, refuse=accept, log=print)


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
        "train2017/1.png: 40×30 pixels are 0.0012 megapixels, and 0.001 may be; scale the picture down or raise "
        "pictures.max_megapixels"
    )
