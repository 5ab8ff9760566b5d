"""Data sets whose labels are not what they seem, at the entry of the stage `prepare`: read right, or refused."""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.data.voc import palette
from palimpsest.layout import Layout
from tests.conftest import job_in_this_process

Content = dict[str, Any]
SIDE = 64
SQ = [16, 16, 48, 16, 48, 48, 16, 48]
NESTED = [[16, 16], [48, 16], [48, 48], [16, 48]]
THING = {"id": 1, "name": "thing", "supercategory": "object"}
FOLDER = Layout("mine").prepared("shapes")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def write_params(classes: Content | None = None, data_format: str = "coco", **pictures: Any) -> None:
    """Write `params.yaml` of a study with one task of segmentation."""
    task = {"kind": "segmentation", "data": "mine", "classes": classes or {"thing": ["thing"]}}
    defaults = {
        "methods": ["scratch"],
        "sequence": ["shapes"],
        "pictures": {"size": 32, "crop": 32, **pictures},
        "datasets": {"mine": {"format": data_format, "source": "directory", "root": "mine"}},
        "tasks": {"shapes": task},
    }
    Path("params.yaml").write_text(
        yaml.safe_dump({"preset": "mine", "defaults": defaults, "presets": {"mine": {}}})
    )


def annotated(number: int, segmentation: Any = (SQ,), **more: Any) -> Content:
    """Return an annotation of the picture of this number."""
    outline = list(segmentation) if isinstance(segmentation, tuple) else segmentation
    return {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": outline, **more}


def write_coco(
    annotation: Callable[[int], Content] = annotated,
    categories: list[Content] | None = None,
    size: tuple[int, int] = (SIDE, SIDE),
    orientation: int = 1,
    split: str = "both",
) -> None:
    """Write a COCO folder of eight pictures per split with one annotation each."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("train", "val") if split == "both" else (split,):
        folder = Path("mine", f"{name}2017")
        folder.mkdir(parents=True, exist_ok=True)
        images = []
        for number in range(1, 9):
            Image.new("RGB", size, (9 * number, 99, len(name))).save(folder / f"{number}.jpg", exif=exif)
            images.append({"id": number, "file_name": f"{number}.jpg", "width": size[0], "height": size[1]})
        content = {
            "images": images,
            "annotations": [annotation(number) for number in range(1, 9)],
            "categories": categories or [THING],
        }
        Path("mine/annotations").mkdir(exist_ok=True)
        Path(f"mine/annotations/instances_{name}2017.json").write_text(json.dumps(content))


def prepared() -> Prepared:
    """Run the stage, and return what it wrote."""
    with pytest.MonkeyPatch.context() as patch, job_in_this_process():
        patch.setattr(sys, "argv", ["prepare", "--log", "logs/prepare.log", "--task", "shapes"])
        patch.delitem(sys.modules, "pipeline.prepare", raising=False)
        runpy.run_module("pipeline.prepare", run_name="__main__")
    return Prepared.open(FOLDER)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """Run the stage, and return the one line with which it ends; nothing is written."""
    with pytest.raises(SystemExit) as ended:
        prepared()
    assert ended.value.code == 1 and not FOLDER.exists()
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1, line
    return line.removeprefix("error: ").rstrip("\n")


def log() -> str:
    """Return the log of the stage."""
    return Path("logs/prepare.log").read_text("utf-8")


def test_a_sound_data_set_has_its_labels_counted() -> None:
    write_params()
    write_coco()
    arrays = prepared()
    assert arrays.target is not None and np.mean(arrays.target) == 0.25
    labels = arrays.info["labels"]["train"]
    assert labels["classes"] == {"background": 0.75, "thing": 0.25} and labels["ignored"] == 0
    assert labels["annotations"] == {"read": 8, "faulty": 0, "small": 0, "crowd": 0}
    assert arrays.info["faulty_annotations"] == []
    assert "val: background 75.00%, thing 25.00%, ignored (255) 0.00%" in log()
    assert "train: annotations: 8 read, 0 faulty, 0 small, 0 crowd" in log()
    counts = arrays.counts()
    assert counts["classes/val/thing"] == 0.25 and counts["annotations/train/faulty"] == 0
    assert counts["ignored/train"] == 0 and counts["pictures/train/pictures"] == 8


VIA = {"all_points_x": [16, 48, 48, 16], "all_points_y": [16, 16, 48, 48]}
EMPTY = {"size": [SIDE, SIDE], "counts": [SIDE * SIDE]}


@pytest.mark.parametrize(
    "segmentation",
    [NESTED, [NESTED], SQ, [{"x": x, "y": y} for x, y in NESTED], VIA],
    ids=lambda one: str(one)[:20],
)
def test_outlines_of_one_meaning_are_read(segmentation: Any) -> None:
    write_params()
    write_coco()
    before = prepared()
    write_coco(lambda number: annotated(number, segmentation))
    after = prepared()
    assert after.target is not None and before.target is not None and np.array_equal(after.target, before.target)


NOTHING: dict[str, tuple[Any, str]] = {
    "box alone": ([], "no outline: a box alone cannot be painted"),
    "empty polygon": ([[]], "no outline: a box alone cannot be painted"),
    "four numbers": ([[16, 16, 32, 32]], "no outline, but four numbers: a box or a line cannot be painted"),
    "two points": ([[16, 16], [48, 48]], "fewer than three points: a point or a line cannot be painted"),
    "points on a line": ([[16, 16, 32, 32, 48, 48]], "all points lie on one line, which encloses no pixel"),
    "shares": (
        [[0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75]],
        "all coordinates lie between 0 and 1: shares of the picture instead of pixels?",
    ),
    "percent": (
        [[25, 25, 75, 25, 75, 75, 25, 75]],
        "reaches out of the picture: x 25 to 75 and y 25 to 75 of 64×64 pixels; percent instead of pixels?",
    ),
    "outside": (
        [[200, 200, 240, 200, 240, 240]],
        "lies outside the picture: x 200 to 240 and y 200 to 240 of 64×64 pixels",
    ),
    "empty run lengths": (EMPTY, "its run-length code covers no pixel"),
    "empty code": ({"size": [SIDE, SIDE], "counts": "PP4"}, "its run-length code covers no pixel"),
}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("name", NOTHING)
def test_annotations_that_paint_nothing_are_refused(
    name: str, every: int, capsys: pytest.CaptureFixture[str]
) -> None:
    segmentation, reason = NOTHING[name]
    write_params()
    write_coco(lambda number: annotated(number, segmentation if number % every == 0 else [SQ]))
    line = refusal(capsys)
    first = "; ".join(f"train2017/{n}.jpg: annotation {n}: {reason}" for n in (every, 2 * every, 3 * every))
    start = f"mine: train from 'train': {8 // every} of 8 annotations cannot be painted, and 1.0% may be; "
    assert line == f"{start}mend or remove them, or raise pictures.broken_share: {first}"


def test_up_to_the_share_they_are_counted_listed_and_logged() -> None:
    write_params(broken_share=0.125)
    write_coco(lambda number: annotated(number, [] if number == 3 else [SQ]))
    arrays = prepared()
    assert arrays.info["labels"]["train"]["annotations"] == {"read": 8, "faulty": 1, "small": 0, "crowd": 0}
    reason = "no outline: a box alone cannot be painted"
    listed = [
        {"split": split, "source": f"{split}2017/3.jpg", "annotation": "annotation 3", "reason": reason}
        for split in ("train", "val")
    ]
    assert arrays.info["faulty_annotations"] == listed and len(arrays.picture) == 16
    assert f"train: train2017/3.jpg: annotation 3: {reason}" in log()
    assert arrays.counts()["annotations/train/faulty"] == 1


def test_outlines_smaller_than_a_pixel_are_named_and_refuse_nothing() -> None:
    write_params()
    write_coco(lambda number: annotated(number, [[20.1, 20.1, 20.2, 20.1, 20.2, 20.2]] if number > 1 else [SQ]))
    arrays = prepared()
    assert arrays.info["labels"]["val"]["annotations"] == {"read": 8, "faulty": 0, "small": 7, "crowd": 0}
    assert arrays.info["faulty_annotations"][0]["reason"] == "smaller than a pixel: covers no pixel centre"


def test_annotations_of_the_background_are_not_judged() -> None:
    """Boxes of categories that no class lists change nothing."""
    write_params()
    other = {"id": 2, "name": "other"}
    write_coco(categories=[THING, other])
    for path in Path("mine/annotations").iterdir():
        content = json.loads(path.read_text())
        content["annotations"] += [annotated(number, [], category_id=2) for number in range(1, 9)]
        path.write_text(json.dumps(content))
    assert prepared().info["labels"]["train"]["annotations"]["read"] == 8


@pytest.mark.parametrize("box", [None, [160, 120, 320, 240]])
def test_percent_in_large_pictures_are_refused(box: list[int] | None, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"bbox": box} if box else {}
    write_params()
    write_coco(lambda number: annotated(number, [[25, 25, 75, 25, 75, 75, 25, 75]], **more), size=(640, 480))
    line = refusal(capsys)
    assert (
        "annotation 1: no coordinate of this split exceeds 100, whatever the size of the picture: percent" in line
    )


def test_a_class_of_crowd_regions_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """CVAT exports masks so."""
    mask = {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]}
    write_params()
    write_coco(lambda number: annotated(number, mask, iscrowd=1))
    assert refusal(capsys) == (
        "mine: train from 'train': no pixel is of the class 'thing'; found instead: background 0.00%, thing 0.00%, "
        "ignored (255) 100.00%; annotations of these pictures: 8 × 'thing', 8 of them crowd (iscrowd: 1); crowd "
        "regions are ignored; correct the annotations or the task's classes, or use more pictures"
    )


def test_a_class_that_val_lacks_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    cat = {"id": 2, "name": "cat"}
    write_params({"thing": ["thing"], "pet": ["cat"]})
    write_coco(lambda number: annotated(number, category_id=1 + number % 2), [THING, cat], split="train")
    write_coco(categories=[THING, cat], split="val")
    line = refusal(capsys)
    assert line.startswith(
        "mine: val from 'val': no pixel is of the class 'pet'; found instead: background 75.00%,"
    )
    assert "annotations of these pictures: 0 × 'cat', 8 × 'thing'; correct" in line


def test_objects_that_the_crop_cuts_off_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Judged on the prepared label maps: the centred square lacks both ends of a wide picture."""
    write_params()
    write_coco(lambda number: annotated(number, [[0, 0, 30, 0, 30, 60, 0, 60]]), size=(192, 64))
    assert "no pixel is of the class 'thing'; found instead: background 100.00%" in refusal(capsys)


def write_voc(labels: np.ndarray[Any, Any]) -> None:
    """Write a VOC folder of two pictures per split with this label map."""
    home = Path("mine/VOCdevkit/VOC2012")
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    for split in ("train", "val"):
        for number in range(2):
            Image.new("RGB", (SIDE, SIDE)).save(home / "JPEGImages" / f"{split}{number}.jpg")
            picture = Image.fromarray(labels)
            picture.putpalette(palette().ravel().tolist())
            picture.save(home / "SegmentationClass" / f"{split}{number}.png")
        (home / "ImageSets/Segmentation" / f"{split}.txt").write_text(f"{split}0\n{split}1\n")


def test_voc_maps_of_0_and_255_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[16:48, 16:48] = 255
    write_params({"boat": ["boat"]}, "voc")
    write_voc(labels)
    assert refusal(capsys) == (
        "mine: train from 'train': no pixel is of the class 'boat'; found instead: background 75.00%, boat 0.00%, "
        "ignored (255) 25.00%; the maps in VOCdevkit/VOC2012/SegmentationClass hold the values 0 (75.00%), "
        "255 (25.00%); VOC has 4 for 'boat' and 255 for ignored pixels; correct the annotations or the task's "
        "classes, or use more pictures"
    )


ROBOFLOW = [
    {"id": 0, "name": "cars", "supercategory": "none"},
    {"id": 1, "name": "car", "supercategory": "cars"},
]


def test_a_placeholder_stands_for_the_members_of_the_supercategory() -> None:
    write_params({"car": ["cars"]})
    write_coco(categories=ROBOFLOW)
    assert prepared().info["labels"]["train"]["classes"]["car"] == 0.25
    note = "tasks.shapes.classes.car: the category 'cars' has no annotations; its name stands for 'car'"
    assert note in log()


def test_a_category_of_its_own_is_taken_before_the_supercategory() -> None:
    write_params({"car": ["cars"]})
    write_coco(lambda number: annotated(number, category_id=number % 2), ROBOFLOW)
    assert prepared().info["labels"]["train"]["classes"]["car"] == 0.125
    note = "'cars' is read as the category of this name, not as the supercategory of 'car'"
    assert note in log()


@pytest.mark.parametrize("name", ["Thing", "thing ", "things"])
def test_a_split_of_other_categories_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_coco(split="train")
    write_coco(categories=[{**THING, "name": name}], split="val")
    assert refusal(capsys) == (
        f"mine/annotations/instances_val2017.json: 8 annotations are of the category {name!r}, which "
        "instances_train2017.json does not list; did you mean 'thing'?; name the categories alike in both files"
    )


def test_two_annotated_categories_of_one_name_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_coco(lambda number: annotated(number, category_id=1 + number % 2), [THING, {**THING, "id": 2}])
    assert refusal(capsys) == (
        "mine/annotations/instances_train2017.json: two categories are named 'thing' (ids 1 and 2), and both are "
        "annotated; rename one or give all their annotations one id"
    )


def test_one_id_of_two_categories_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_coco(categories=[THING, {**THING, "name": "other"}])
    assert refusal(capsys) == (
        "mine/annotations/instances_train2017.json: the id 1 has several categories: 'thing' and 'other'; give "
        "each category an id of its own"
    )


@pytest.mark.parametrize("categories", [[THING, THING], [THING, {**THING, "id": 9}]], ids=["entry", "name"])
def test_a_category_listed_twice_does_no_harm(categories: list[Content]) -> None:
    write_params()
    write_coco(categories=categories)
    assert prepared().info["labels"]["val"]["classes"]["thing"] == 0.25


def test_a_category_that_differs_by_capitals_alone_and_is_in_no_class_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_params()
    categories = [THING, {**THING, "id": 2, "name": "Thing"}]
    write_coco(lambda number: annotated(number, category_id=1 + number % 2), categories)
    assert refusal(capsys) == (
        "tasks.shapes.classes.thing: 'thing' is listed, but 8 annotations are of 'Thing', which differs by "
        "capitals and spaces alone; list both or mend the data set"
    )
    write_params({"thing": ["thing", "Thing"]})
    assert prepared().info["labels"]["val"]["classes"]["thing"] == 0.25


def test_names_with_decomposed_accents_are_the_same() -> None:
    write_params({"café": ["caf\u00e9"]})
    write_coco(categories=[{**THING, "name": "cafe\u0301"}], split="train")
    write_coco(categories=[{**THING, "name": "caf\u00e9"}], split="val")
    assert prepared().info["labels"]["val"]["classes"]["café"] == 0.25


TALL = [8, 4, 40, 4, 40, 60, 8, 60]
"""In 48×64 pixels, as a picture stored as 64×48 is shown."""


def test_outlines_as_shown_under_sizes_as_stored_are_read_as_shown() -> None:
    write_params()
    write_coco(
        lambda number: annotated(number, [TALL if number < 3 else [8, 8, 24, 8, 24, 24, 8, 24]]),
        size=(64, 48),
        orientation=6,
    )
    arrays = prepared()
    assert arrays.target is not None
    square = np.zeros((48, 48), np.uint8)  # rows 8 to 56 of 64
    square[0:16, 8:24] = 1
    steps = (np.arange(32) * 2 + 1) * 48 // 64
    assert np.array_equal(arrays.target[5], square[steps][:, steps])


def test_outlines_that_fit_neither_frame_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_coco(lambda number: annotated(number, [[8, 4, 90, 4, 90, 90]]), size=(64, 48), orientation=6)
    assert re.search(
        r"8 of 8 pictures are broken.*1\.jpg: its annotations fit the picture neither as stored, 64×48, nor as "
        r"shown, 48×64; export them again for this file",
        refusal(capsys),
    )


def test_outlines_in_both_frames_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    wide = [4, 8, 60, 8, 60, 40, 4, 40]
    write_coco(lambda number: annotated(number, [TALL if number == 4 else wide]), size=(64, 48), orientation=6)
    assert re.search(
        r"4\.jpg: its annotations fit a picture of 48×64 pixels, but those of other pictures turned by EXIF are "
        r"for 64×48; export all of them in one frame",
        refusal(capsys),
    )


def test_a_split_without_evidence_takes_the_frame_of_the_other() -> None:
    small = [8, 8, 24, 8, 24, 24, 8, 24]
    write_params()
    write_coco(lambda number: annotated(number, [TALL]), size=(64, 48), orientation=6, split="train")
    write_coco(lambda number: annotated(number, [small]), size=(64, 48), orientation=6, split="val")
    target = prepared().target
    assert target is not None and target[-1][0, 8] == 1 and target[-1][30, 8] == 0


def test_without_sizes_outlines_may_be_as_shown_or_as_stored() -> None:
    write_params()
    for outline in (TALL, [4, 8, 60, 8, 60, 40, 4, 40]):
        write_coco(lambda number, outline=outline: annotated(number, [outline]), size=(64, 48), orientation=6)
        for path in Path("mine/annotations").iterdir():
            content = json.loads(path.read_text())
            for image in content["images"]:
                del image["width"], image["height"]
            path.write_text(json.dumps(content))
        target = prepared().target
        assert target is not None and np.argwhere(target[0]).min(axis=0).tolist() == [0, 5]


def test_run_lengths_bring_their_frame() -> None:
    mask = np.zeros((64, 48), np.uint8)
    mask[10:20, 10:20] = 1
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.ravel(order="F"), [0]))))
    counts = np.diff([0, *edges, mask.size]).tolist()
    write_params()
    write_coco(lambda number: annotated(number, {"size": [64, 48], "counts": counts}), size=(64, 48), orientation=6)
    target = prepared().target
    square = mask[8:56]
    steps = (np.arange(32) * 2 + 1) * 48 // 64
    assert target is not None and np.array_equal(target[0], square[steps][:, steps])
