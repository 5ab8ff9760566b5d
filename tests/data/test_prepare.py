import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.data.census import Labels
from palimpsest.data.classes import Classes, class_mapping
from palimpsest.data.coco import CocoFolder
from palimpsest.data.manifest import write_manifest
from palimpsest.data.paired import PairedFolder
from palimpsest.data.pictures import Frame, Pixels, Record, is_grey
from palimpsest.data.prepare import prepare
from palimpsest.data.reader import DatasetReader, Sample, SampleSpec, labelled_sample
from palimpsest.data.targets import LABELS, PICTURE
from palimpsest.data.voc import GROUPS, VocFolder
from palimpsest.errors import DataError, SettingsError

REAL = Path(__file__).parents[2] / ".." / "shared" / "realdata"

CLASSES = Classes(("background", "left"), {"left": 1})


class Folder(DatasetReader):
    """Data set of plain pictures, some broken, with label maps whose left half is class 1."""

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

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        return labelled_sample(record, spec, self.read_labels)

    def read_labels(self, record: Record, class_of: Mapping[str, int], other_label: int, frame: Frame) -> Labels:
        labels = np.zeros((8, 12), np.uint8)
        labels[:, :6] = class_of["left"]
        return Labels(labels)


def accept(picture: Pixels) -> str | None:
    return None


def refuse_grey(picture: Pixels) -> str | None:
    return "grey" if is_grey(picture) else None


def test_pictures_and_labels_are_cropped_alike(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data, out, lines = Folder(tmp_path / "raw", 3), tmp_path / "task", list[str]()
    splits = {"train": ("all", None)}
    prepare(data, out, splits, SampleSpec(4, LABELS, CLASSES), refuse=accept, log=lines.append)
    prepared = Prepared.open(out)
    assert prepared.picture[2, 0, 0].tolist() == [2, 255, 0]
    assert prepared.target is not None and prepared.target[1].tolist() == [[1, 1, 0, 0]] * 4
    assert prepared.sources == ("000.png", "001.png", "002.png")
    assert prepared.info["classes"] == ["background", "left"]
    assert prepared.info["splits"] == {"train": {"from": "all", "pictures": 3, "refused": 0, "broken": 0}}
    assert lines == ["train: 3 pictures, 0 refused, 0 broken"]


def test_refused_and_broken_pictures_are_replaced_counted_and_listed(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data, out, lines = Folder(tmp_path / "raw", 10, broken=(3,), grey=(5, 6)), tmp_path / "task", list[str]()
    prepare(
        data,
        out,
        {"train": ("all", None)},
        SampleSpec(4),
        refuse=refuse_grey,
        log=lines.append,
        max_broken_share=0.1,
    )
    prepared = Prepared.open(out)
    assert len(prepared.picture) == 7 and prepared.target is None
    assert prepared.info["splits"]["train"] == {"from": "all", "pictures": 7, "refused": 2, "broken": 1}
    assert [(entry["source"], entry["kind"]) for entry in prepared.info["left_out"]] == [
        ("003.png", "broken"),
        ("005.png", "refused"),
        ("006.png", "refused"),
    ]
    assert any("003.png left out, broken: 003.png: not a picture" in line for line in lines)
    assert str(tmp_path) not in (out / "info.json").read_text()


def test_too_many_broken_pictures_stop_the_work_and_leave_no_file(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 100, broken=(7, 8))
    message = r"2 of 100 pictures are broken, and the limit is 1\.0%; .*broken_share: .*007\.png.*008\.png"
    with pytest.raises(DataError, match=message):
        prepare(data, tmp_path / "task", {"train": ("all", None)}, SampleSpec(4), refuse=accept, log=print)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_the_fraction_is_of_the_examined_pictures(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 100, broken=tuple(range(0, 100, 10)))
    with pytest.raises(DataError, match="pictures are broken"):
        prepare(
            data,
            tmp_path / "task",
            {"train": ("all", 20)},
            SampleSpec(4),
            refuse=accept,
            log=print,
            max_broken_share=0.01,
        )


def test_a_higher_limit_adds_to_the_same_pictures(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 60)
    drawn = {}
    for limit in (10, 20):
        splits = {"train": ("all", limit)}
        prepare(data, tmp_path / str(limit), splits, SampleSpec(4), refuse=accept, log=print)
        drawn[limit] = Prepared.open(tmp_path / str(limit)).sources
    assert len({*drawn[20]}) == 20 and drawn[20][:10] == drawn[10]
    assert max(drawn[10]) > "030.png"


def test_no_photograph_is_in_two_splits(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 20)
    prepare(
        data,
        tmp_path / "task",
        {"train": ("all", 12), "val": ("all", None)},
        SampleSpec(4),
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
            {"train": (split, None)},
            SampleSpec(4),
            refuse=refuse_grey,
            log=print,
        )


def test_pairs_are_resized_alike_and_must_have_equal_shapes(tmp_path: Path) -> None:
    for name, size in (("a", (16, 8)), ("b", (30, 8))):
        for side, colour, picture_size in (("input", "red", (8, 4)), ("target", "blue", size)):
            (tmp_path / "raw" / "train" / side).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", picture_size, colour).save(tmp_path / "raw" / "train" / side / f"{name}.png")
    prepare(
        PairedFolder(tmp_path / "raw"),
        tmp_path / "task",
        {"train": ("train", None)},
        SampleSpec(4, PICTURE),
        refuse=accept,
        log=print,
        max_broken_share=0.5,
    )
    prepared = Prepared.open(tmp_path / "task")
    assert prepared.target is not None and prepared.target[0, 0, 0].tolist() == [0, 0, 255]
    reason = prepared.info["left_out"][0]["reason"]
    assert "but its target " in reason and reason.endswith(".png has 30×8; give both one aspect ratio")


def test_names_that_are_not_utf_8_are_read_and_listed_with_escapes(tmp_path: Path) -> None:
    """Test names of an archive packed under Latin-1 or Shift-JIS and unpacked on Linux."""
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
    prepare(data, out, splits, SampleSpec(4, PICTURE), refuse=accept, log=lines.append, max_broken_share=0.5)
    write_manifest(tmp_path / "raw", tmp_path / "manifest.json")
    prepared = Prepared.open(out)
    assert prepared.sources == (r"train/input/caf\udce9 1.png",)
    assert prepared.info["left_out"][0]["reason"].startswith(r"train/target/caf\udce9 2.png: not a picture")
    assert any(r"caf\udce9 2.png left out, broken" in line for line in lines)
    assert len(json.loads((tmp_path / "manifest.json").read_text("utf-8"))["files"]) == 4


def test_a_supercategory_means_its_members() -> None:
    names, class_of = class_mapping({"beast": ["animal"], "seat": ["sofa", "chair"]}, GROUPS)
    assert names == ["background", "beast", "seat"]
    assert class_of == {
        **dict.fromkeys(("bird", "cat", "cow", "dog", "horse", "sheep"), 1),
        "sofa": 2,
        "chair": 2,
    }


def test_without_classes_each_category_is_a_class() -> None:
    names, class_of = class_mapping(None, GROUPS)
    assert len(names) == 21 and class_of["aeroplane"] == 1 and class_of["tvmonitor"] == 20


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": ["cta"]}, r"classes\.a: .*'cta'; did you mean 'cat'\?"),
        ({"a": ["Person"]}, "did you mean 'person'"),
        ({"a": ["qqqqqq"]}, "choose from aeroplane, animal, "),
        ({"a": ["animal"], "b": ["cat"]}, r"classes\.b: 'cat' is already in 'a'; remove one"),
    ],
)
def test_impossible_classes_are_refused(classes: dict[str, list[str]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        class_mapping(classes, GROUPS)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
def test_real_photographs_become_equal_arrays_each_time(tmp_path: Path) -> None:
    names, class_of = class_mapping(
        {"person": ["person"], "animal": ["animal"]}, CocoFolder(REAL / "coco").categories
    )
    for turn in ("one", "two"):
        prepare(
            CocoFolder(REAL / "coco"),
            tmp_path / turn,
            {"train": ("train", 60), "val": ("val", None)},
            SampleSpec(48, LABELS, Classes(tuple(names), class_of)),
            refuse=accept,
            log=lambda line: None,
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
def test_grey_photographs_are_left_out_if_the_task_refuses_them(tmp_path: Path) -> None:
    prepare(
        VocFolder(REAL / "voc"),
        tmp_path / "task",
        {"val": ("val", None)},
        SampleSpec(32),
        refuse=refuse_grey,
        log=lambda line: None,
    )
    info = json.loads((tmp_path / "task" / "info.json").read_text())["splits"]["val"]
    assert info["refused"] >= 5 and info["pictures"] + info["refused"] == 383 and info["broken"] == 0


def test_all_pictures_may_be_broken(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 8, broken=tuple(range(8)))
    with pytest.raises(DataError, match="8 of 8 pictures are broken, "):
        prepare(data, tmp_path / "task", {"train": ("all", None)}, SampleSpec(4), refuse=accept, log=print)


def test_broken_pictures_end_the_work_after_a_minimum_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palimpsest.data.selection.MIN_EXAMINED", 10)
    (tmp_path / "raw").mkdir()
    data = Folder(tmp_path / "raw", 40, broken=tuple(range(20)))
    with pytest.raises(DataError, match="10 of the first 10 pictures are broken, "):
        prepare(data, tmp_path / "task", {"train": ("all", None)}, SampleSpec(4), refuse=accept, log=print)
