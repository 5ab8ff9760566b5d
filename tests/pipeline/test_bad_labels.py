"""Annotations and label maps with an unexpected meaning in the stage `prepare`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.voc import palette
from tests.pipeline.labelled import (
    CATEGORY,
    SIDE,
    SQ,
    Content,
    annotated,
    log,
    prepared,
    refusal,
    write_coco,
    write_params,
)

NESTED = [[16, 16], [48, 16], [48, 48], [16, 48]]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a new folder."""
    monkeypatch.chdir(tmp_path)


def counts(faulty: int = 0, small: int = 0) -> Content:
    """Return the counts of a split of eight annotations."""
    return {"read": 8, "faulty": faulty, "small": small, "clipped": 0, "crowd": 0}


def test_labels_of_a_valid_data_set_are_counted() -> None:
    write_params()
    write_coco()
    arrays = prepared()
    assert arrays.target is not None and np.mean(arrays.target) == 0.25
    labels = arrays.info["labels"]["train"]
    assert labels["classes"] == {"background": 0.75, "thing": 0.25} and labels["ignored"] == 0
    assert labels["annotations"] == counts()
    assert arrays.info["faulty_annotations"] == []
    assert "val: background 75.00%, thing 25.00%, ignored (255) 0.00%" in log()
    assert "train: annotations: 8 read, 0 faulty, 0 small, 0 clipped, 0 crowd" in log()
    logged = arrays.counts()
    assert logged["classes/val/thing"] == 0.25 and logged["annotations/train/faulty"] == 0
    assert logged["ignored/train"] == 0 and logged["pictures/train/pictures"] == 8


def test_annotations_without_an_outline_are_faulty_and_their_pictures_used() -> None:
    def annotated_except_third(number: int) -> Content:
        entry = annotated(number)
        if number == 3:
            del entry["segmentation"]
        return entry

    write_params(broken_share=0.125)
    write_coco(annotated_except_third)
    arrays = prepared()
    assert arrays.info["labels"]["train"]["annotations"]["faulty"] == 1
    assert arrays.info["splits"]["train"]["broken"] == 0


@pytest.mark.parametrize("kind", ["clipped", "small"])
def test_single_outlines_beyond_the_edge_or_in_the_corner_are_accepted(kind: str) -> None:
    outline = [[-20, 10, 40, 10, 40, 50, -20, 50]] if kind == "clipped" else [[0.2, 0.2, 0.9, 0.2, 0.9, 0.4]]
    write_params()
    write_coco(lambda number: annotated(number, outline if number == 1 else [SQ]))
    arrays = prepared()
    assert arrays.info["labels"]["train"]["annotations"][kind] == 1 and len(arrays.picture) == 16
    assert f"train2017/1.jpg: annotation 1: {kind}" in log()


def test_outlines_in_one_corner_with_boxes_in_pixels_are_read() -> None:
    write_params()
    outline, box = [[5, 5, 90, 5, 90, 60, 5, 60]], [5, 5, 85, 55]
    write_coco(lambda number: annotated(number, outline, bbox=box), size=(240, 200))
    assert prepared().info["labels"]["train"]["annotations"]["faulty"] == 0


VIA = {"all_points_x": [16, 48, 48, 16], "all_points_y": [16, 16, 48, 48]}
MASK = {"size": [SIDE, SIDE], "counts": [16 * 64 + 16, *[32, 32] * 31, 32, 16 * 64 + 16]}
EMPTY = {"size": [SIDE, SIDE], "counts": [SIDE * SIDE]}


@pytest.mark.parametrize(
    "segmentation",
    [NESTED, [NESTED], SQ, [{"x": x, "y": y} for x, y in NESTED], VIA, MASK, [MASK]],
    ids=lambda outline: str(outline)[:20],
)
def test_outlines_of_every_valid_form_are_read(segmentation: Any) -> None:
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
        "all coordinates lie between 0 and 1: fractions of the picture instead of pixels?",
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
def test_annotations_without_pixels_are_refused(name: str, every: int, capsys: pytest.CaptureFixture[str]) -> None:
    segmentation, reason = NOTHING[name]
    write_params()
    write_coco(lambda number: annotated(number, segmentation if number % every == 0 else [SQ]))
    line = refusal(capsys)
    first = "; ".join(f"train2017/{n}.jpg: annotation {n}: {reason}" for n in (every, 2 * every, 3 * every))
    start = f"mine: train from 'train': {8 // every} of 8 annotations cannot be painted, and the limit is 1.0%; "
    assert line == f"{start}correct or remove them, or raise pictures.broken_share: {first}"


def test_faulty_annotations_within_the_limit_are_counted_and_logged() -> None:
    write_params(broken_share=0.125)
    write_coco(lambda number: annotated(number, [] if number == 3 else [SQ]))
    arrays = prepared()
    assert arrays.info["labels"]["train"]["annotations"] == {
        "read": 8,
        "faulty": 1,
        "small": 0,
        "clipped": 0,
        "crowd": 0,
    }
    reason = "no outline: a box alone cannot be painted"
    listed = [
        {"split": split, "source": f"{split}2017/3.jpg", "annotation": "annotation 3", "reason": reason}
        for split in ("train", "val")
    ]
    assert arrays.info["faulty_annotations"] == listed and len(arrays.picture) == 16
    assert f"train: train2017/3.jpg: annotation 3: {reason}" in log()
    assert arrays.counts()["annotations/train/faulty"] == 1


def test_outlines_smaller_than_a_pixel_are_named_and_accepted() -> None:
    write_params()
    write_coco(lambda number: annotated(number, [[20.1, 20.1, 20.2, 20.1, 20.2, 20.2]] if number > 1 else [SQ]))
    arrays = prepared()
    assert arrays.info["labels"]["val"]["annotations"] == {
        "read": 8,
        "faulty": 0,
        "small": 7,
        "clipped": 0,
        "crowd": 0,
    }
    assert arrays.info["faulty_annotations"][0]["reason"] == "smaller than a pixel: covers no pixel centre"


def test_annotations_without_a_class_are_not_checked() -> None:
    """Test that boxes of categories without a class have no effect."""
    write_params()
    background_category = {"id": 2, "name": "other"}
    write_coco(categories=[CATEGORY, background_category])
    for path in Path("mine/annotations").iterdir():
        content = json.loads(path.read_text())
        content["annotations"] += [annotated(number, [], category_id=2) for number in range(1, 9)]
        path.write_text(json.dumps(content))
    assert prepared().info["labels"]["train"]["annotations"]["read"] == 8


@pytest.mark.parametrize("box", [None, [160, 120, 320, 240]])
def test_outlines_in_percent_of_large_pictures_are_refused(
    box: list[int] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"bbox": box} if box else {}
    write_params()
    write_coco(lambda number: annotated(number, [[25, 25, 75, 25, 75, 75, 25, 75]], **more), size=(640, 480))
    line = refusal(capsys)
    assert (
        "annotation 1: no coordinate of this split exceeds 100, whatever the size of the picture: percent" in line
    )


def test_a_class_of_crowd_regions_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Test crowd regions alone, as in exports of masks by CVAT."""
    mask = {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]}
    write_params()
    write_coco(lambda number: annotated(number, mask, iscrowd=1))
    assert refusal(capsys) == (
        "mine: train from 'train': no pixel is of the class 'thing'; found instead: background 0.00%, thing 0.00%, "
        "ignored (255) 100.00%; annotations of these pictures: 8 × 'thing', including 8 crowd (iscrowd: 1); crowd "
        "regions are ignored; correct the annotations or the task's classes, or use more pictures"
    )


def test_a_class_that_val_lacks_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    cat = {"id": 2, "name": "cat"}
    write_params({"thing": ["thing"], "pet": ["cat"]})
    write_coco(lambda number: annotated(number, category_id=1 + number % 2), [CATEGORY, cat], split="train")
    write_coco(categories=[CATEGORY, cat], split="val")
    line = refusal(capsys)
    assert line.startswith(
        "mine: val from 'val': no pixel is of the class 'pet'; found instead: background 75.00%,"
    )
    assert "annotations of these pictures: 0 × 'cat', 8 × 'thing'; correct" in line


def test_objects_that_the_crop_cuts_off_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Test the check of prepared label maps: the centred square lacks both ends of a wide picture."""
    write_params()
    write_coco(lambda number: annotated(number, [[0, 0, 30, 0, 30, 60, 0, 60]]), size=(192, 64))
    line = refusal(capsys)
    assert "no pixel is of the class 'thing'; found instead: background 100.00%" in line
    assert "centred square lacks the annotated objects, or is too small for them: 'thing' in 8; crop them" in line


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
        "ignored (255) 25.00%; the maps in VOCdevkit/VOC2012/SegmentationClass contain the values 0 (75.00%), "
        "255 (25.00%); VOC has 4 for 'boat' and 255 for ignored pixels; correct the annotations or the task's "
        "classes, or use more pictures"
    )
