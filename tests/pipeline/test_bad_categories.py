"""Ambiguous names of categories and frames of rotated pictures in the stage `prepare`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.labelled import (
    CATEGORY,
    Content,
    annotated,
    log,
    prepared,
    refusal,
    write_coco,
    write_params,
)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a new folder."""
    monkeypatch.chdir(tmp_path)


ROBOFLOW = [
    {"id": 0, "name": "cars", "supercategory": "none"},
    {"id": 1, "name": "car", "supercategory": "cars"},
]


def test_a_placeholder_means_the_members_of_the_supercategory() -> None:
    write_params({"car": ["cars"]})
    write_coco(categories=ROBOFLOW)
    assert prepared().info["labels"]["train"]["classes"]["car"] == 0.25
    note = "tasks.shapes.classes.car: the category 'cars' has no annotations; its name means 'car'"
    assert note in log()


def test_a_category_has_priority_over_its_supercategory() -> None:
    write_params({"car": ["cars"]})
    write_coco(lambda number: annotated(number, category_id=number % 2), ROBOFLOW)
    assert prepared().info["labels"]["train"]["classes"]["car"] == 0.125
    note = "'cars' is read as the category of this name, not as the supercategory of 'car'"
    assert note in log()


@pytest.mark.parametrize("name", ["Thing", "thing-", "things"])
def test_a_split_of_other_categories_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_coco(split="train")
    write_coco(categories=[{**CATEGORY, "name": name}], split="val")
    assert refusal(capsys) == (
        f"mine/annotations/instances_val2017.json: 8 annotations are of the category {name!r}, which "
        "instances_train2017.json does not list; did you mean 'thing'?; name the categories alike in both files"
    )


def test_a_category_of_val_alone_without_a_class_is_background_and_named() -> None:
    write_params()
    write_coco(split="train")
    write_coco(
        lambda number: annotated(number, category_id=1 + number % 2),
        [CATEGORY, {"id": 2, "name": "widget"}],
        split="val",
    )
    assert prepared().info["labels"]["val"]["classes"]["thing"] == 0.125
    assert "tasks.shapes.others: 4 annotations are of 'widget', which train does not list" in log()


def test_a_category_of_val_alone_that_a_class_lists_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_params({"thing": ["thing", "widget"]})
    write_coco(split="train")
    write_coco(categories=[{**CATEGORY, "name": "widget"}], split="val")
    assert "8 annotations are of the category 'widget', which instances_train2017.json does not" in refusal(capsys)


def test_spaces_around_a_name_are_ignored() -> None:
    write_params({"thing": [" thing"]})
    write_coco(split="train")
    write_coco(categories=[{**CATEGORY, "name": "thing "}], split="val")
    assert prepared().info["labels"]["val"]["classes"]["thing"] == 0.25


def test_two_annotated_categories_of_one_name_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_coco(lambda number: annotated(number, category_id=1 + number % 2), [CATEGORY, {**CATEGORY, "id": 2}])
    assert refusal(capsys) == (
        "mine/annotations/instances_train2017.json: two categories are named 'thing' (ids 1 and 2), and both are "
        "annotated; rename one or give all their annotations one id"
    )


def test_one_id_of_two_categories_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_coco(categories=[CATEGORY, {**CATEGORY, "name": "other"}])
    assert refusal(capsys) == (
        "mine/annotations/instances_train2017.json: the id 1 has several categories: 'thing' and 'other'; give "
        "each category an id of its own"
    )


@pytest.mark.parametrize(
    "categories", [[CATEGORY, CATEGORY], [CATEGORY, {**CATEGORY, "id": 9}]], ids=["entry", "name"]
)
def test_a_category_may_be_listed_twice(categories: list[Content]) -> None:
    write_params()
    write_coco(categories=categories)
    assert prepared().info["labels"]["val"]["classes"]["thing"] == 0.25


def test_a_category_without_a_class_that_differs_in_capitals_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_params()
    categories = [CATEGORY, {**CATEGORY, "id": 2, "name": "Thing"}]
    write_coco(categories=categories, split="train")
    write_coco(lambda number: annotated(number, category_id=2), categories, split="val")
    assert refusal(capsys) == (
        "tasks.shapes.classes.thing: 'thing' is listed, but 8 annotations are of 'Thing', which differs only in "
        "capitals, spaces, _ or -; list both, or rename one in the data set"
    )
    write_params({"thing": ["thing", "Thing"]})
    assert prepared().info["labels"]["val"]["classes"]["thing"] == 0.25


def test_names_with_decomposed_accents_are_equal() -> None:
    write_params({"café": ["caf\u00e9"]})
    write_coco(categories=[{**CATEGORY, "name": "cafe\u0301"}], split="train")
    write_coco(categories=[{**CATEGORY, "name": "caf\u00e9"}], split="val")
    assert prepared().info["labels"]["val"]["classes"]["café"] == 0.25


TALL = [8, 4, 40, 4, 40, 60, 8, 60]
"""Outlines in 48×64 pixels, the size at which a picture stored as 64×48 is shown."""


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


def test_one_outline_clipped_at_the_edge_keeps_the_frame_of_the_sizes() -> None:
    small = [20, 8, 36, 8, 36, 24, 20, 24]
    write_params()
    write_coco(lambda number: annotated(number, [small]), size=(64, 48), orientation=6)
    before = prepared().target
    write_coco(
        lambda number: annotated(number, [[8, 4, 40, 4, 40, 52] if number == 1 else small]),
        size=(64, 48),
        orientation=6,
    )
    arrays = prepared()
    assert before is not None and arrays.target is not None and np.array_equal(arrays.target[1:8], before[1:8])
    assert arrays.info["labels"]["train"]["turned"] == {"shown": 0, "stored": 8, "deciding": 0}
    line = "pictures turned by EXIF: annotations of 0 read as shown, of 8 as stored; 0 pictures decide"
    assert f"train: {line}" in log()


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


def test_a_split_without_evidence_uses_the_frame_of_the_other() -> None:
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


def test_run_lengths_define_their_frame() -> None:
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
