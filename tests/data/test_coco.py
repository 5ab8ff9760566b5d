import copy
import json
import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO

from palimpsest.data.coco import CocoFolder
from palimpsest.data.pictures import Frame, Record
from palimpsest.errors import DataError

REAL = Path(__file__).parents[2] / ".." / "shared" / "realdata" / "coco"

CATEGORIES = [
    {"id": 1, "name": "table", "supercategory": "furniture"},
    {"id": 7, "name": "cup", "supercategory": "kitchen"},
]

CLASS_OF = {"table": 1, "cup": 2}


def rectangle(left: int, top: int, right: int, bottom: int) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(segmentation: Any, category: Any = 1, image: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": 5, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


Build = Callable[..., CocoFolder]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def folder(
        annotations: list[dict[str, Any]],
        images: list[dict[str, Any]] | None = None,
        size: tuple[int, int] = (8, 6),
        orientation: int = 1,
    ) -> CocoFolder:
        (tmp_path / "train2017").mkdir()
        (tmp_path / "annotations").mkdir()
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", size).save(tmp_path / "train2017" / "a.jpg", exif=exif)
        if images is None:
            images = [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}]
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
        return CocoFolder(tmp_path)

    return folder


def only(folder: CocoFolder) -> Record:
    (record,) = folder.records("train")
    return record


def labels(folder: CocoFolder, other_label: int = 0) -> list[list[int]]:
    result: list[list[int]] = folder.label_map(only(folder), CLASS_OF, other_label).tolist()
    return result


def test_of_overlapping_instances_the_smaller_wins_in_any_order(build: Build) -> None:
    table = annotation([rectangle(0, 0, 8, 6)], 1)
    cup = annotation([rectangle(2, 1, 5, 4)], 7)
    crowd = annotation([rectangle(4, 0, 8, 2)], 7, iscrowd=1)
    folder = build([crowd, cup, table])
    assert labels(folder) == [
        [1, 1, 1, 1, 255, 255, 255, 255],
        [1, 1, 2, 2, 255, 255, 255, 255],
        [1, 1, 2, 2, 2, 1, 1, 1],
        [1, 1, 2, 2, 2, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ]


def test_of_equal_instances_the_later_wins(build: Build) -> None:
    folder = build([annotation([rectangle(0, 0, 8, 6)], 1), annotation([rectangle(0, 0, 8, 6)], 7)])
    assert np.unique(labels(folder)).tolist() == [2]


@pytest.mark.parametrize("other_label", [0, 255])
def test_categories_outside_the_classes_get_other_label(build: Build, other_label: int) -> None:
    folder = build([annotation([rectangle(0, 0, 4, 6)], 1), annotation([rectangle(4, 0, 8, 3)], 7)])
    labelled = folder.label_map(only(folder), {"table": 3}, other_label)
    assert labelled[0].tolist() == [3] * 4 + [other_label] * 4
    assert labelled[5].tolist() == [3] * 4 + [0] * 4


def test_several_polygons_of_one_instance_and_empty_polygons(build: Build) -> None:
    parts = [rectangle(0, 0, 1, 1), rectangle(7, 5, 8, 6), [1.0, 1.0, 5.0, 5.0], []]
    labelled = np.array(labels(build([annotation(parts), annotation([]), annotation([[]])])))
    assert np.argwhere(labelled).tolist() == [[0, 0], [5, 7]]


def test_polygons_beyond_the_picture_are_clipped(build: Build) -> None:
    labelled = np.array(
        labels(build([annotation([rectangle(-5, -5, 3, 2)]), annotation([rectangle(6, 4, 20, 20)])]))
    )
    expected = np.zeros((6, 8), int)
    expected[:2, :3] = expected[4:, 6:] = 1
    assert np.array_equal(labelled, expected)


def test_run_lengths_as_list_and_as_string_are_equal(build: Build) -> None:
    mask = np.zeros((6, 8), np.uint8, order="F")
    mask[1:5, 2] = mask[0, 4:7] = mask[5, 7] = 1
    code = rle_masks.encode(mask)
    bits = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate(([0], bits)))).tolist()
    runs = np.diff([0, *edges, bits.size]).tolist()
    folder = build([annotation({"size": [6, 8], "counts": runs})])
    assert np.array_equal(labels(folder), mask)
    shutil.rmtree(folder.root / "train2017")
    shutil.rmtree(folder.root / "annotations")
    text = {"size": [6, 8], "counts": code["counts"].decode()}
    assert np.array_equal(labels(build([annotation(text)])), mask)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [6, 8], "counts": "0"}, "covers 0 pixels, not 48"),
        ({"size": [6, 8], "counts": "X1"}, "covers 40 pixels, not 48"),
        ({"size": [6, 8], "counts": "X"}, "ends in the middle of a number"),
        ({"size": [6, 8], "counts": [40]}, "covers 40 pixels, not 48"),
        ({"size": [6, 8], "counts": [40, 800]}, "covers 840 pixels"),
        ({"size": [8, 6], "counts": [48]}, "is for"),
        ({"size": [6, 8]}, "lacks counts"),
        ([[0, 0, 1, 1, 2]], "not a list of x, y"),
        ([[0, 0, 1, 1, float("nan"), 2]], "not finite"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "exceeds the picture"),
        ([["a", "b", "c", "d", "e", "f"]], "a"),
        ([[0, 0, 10**400, 0, 1, 1]], "too large"),
        ({"size": [float("inf"), 8], "counts": [48]}, "infinity"),
        ("polygon", "neither a list of polygons nor a run-length code"),
        (3, "neither a list of polygons nor a run-length code"),
    ],
)
def test_damaged_annotations_are_named(build: Build, segmentation: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"a\\.jpg: annotation 5: .*{message}"):
        labels(build([annotation(segmentation)]))


def test_ids_may_be_numbers_or_strings(build: Build) -> None:
    images = [{"id": "1", "file_name": "a.jpg", "width": 8, "height": 6}]
    folder = build([annotation([rectangle(0, 0, 8, 6)], "7", 1.0)], images)
    assert np.unique(labels(folder)).tolist() == [2]


def test_records_are_sorted_by_id_as_a_number(build: Build) -> None:
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in (10, 9, "b", 100, "a")]
    sources = [record.source for record in build([], images).records("train")]
    assert sources == [f"train2017/{name}.jpg" for name in ("9", "10", "100", "a", "b")]


def test_an_unlisted_category_is_named(build: Build) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: annotation 5 has an unknown category"):
        labels(build([annotation([rectangle(0, 0, 8, 6)], 99)]))


def test_an_id_of_two_pictures_is_a_fault_of_both(build: Build) -> None:
    image = {"id": 1, "file_name": "a.jpg"}
    folder = build([], [image, image, {"id": 2, "file_name": "b.jpg"}, {"id": 2, "file_name": "c.jpg"}])
    faults = {record.source: record.fault for record in folder.records("train")}
    assert faults["train2017/a.jpg"] is None
    assert (
        faults["train2017/b.jpg"]
        == faults["train2017/c.jpg"]
        == "the id 2 belongs to several pictures: b.jpg, c.jpg"
    )


def test_annotations_without_a_picture_are_a_fault(build: Build) -> None:
    folder = build([annotation([rectangle(0, 0, 8, 6)], image=33)])
    assert folder.records("train")[1].fault == "1 annotations, but no picture has the id 33"


def test_annotations_for_another_size_are_refused(build: Build) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}]
    with pytest.raises(DataError, match=r"a\.jpg.*80×60.*8×6"):
        labels(build([], images))


def test_without_a_size_annotations_are_for_the_picture(build: Build) -> None:
    assert np.shape(labels(build([], [{"id": 1, "file_name": "a.jpg"}]))) == (6, 8)


@pytest.mark.parametrize("shown", [True, False])
def test_labels_follow_the_exif_orientation(build: Build, shown: bool) -> None:
    """Test a picture stored as 8×6 and shown as 6×8: the stored left edge is the top as shown."""
    if shown:
        images = [{"id": 1, "file_name": "a.jpg", "width": 6, "height": 8}]
        folder = build([annotation([rectangle(0, 0, 6, 1)])], images, orientation=6)
    else:
        folder = build([annotation([rectangle(0, 0, 1, 6)])], orientation=6)
    expected = np.zeros((8, 6), int)
    expected[0] = 1
    assert np.array_equal(labels(folder), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[]", "images is missing"),
        ("{}", "images is missing"),
        ("[" * 100_000, "recursion"),
        ('{"images": null}', "images is not a list"),
        ('{"images": [{"id": 1}]}', r"images\[0\]: 'file_name' is missing"),
        ('{"images": [{"id": 1, "file_name": 3}]}', r"images\[0\]: 3 is not a file name"),
        ('{"images": [{"id": true, "file_name": "a.jpg"}]}', r"images\[0\]: True is not an id"),
        ('{"images": [{"id": 1e999, "file_name": "a.jpg"}]}', r"images\[0\]: .*infinity"),
        (
            '{"images": [], "annotations": [{"category_id": 1, "image_id": ""}]}',
            r"annotations\[0\]: '' is not an id",
        ),
        ('{"images": [], "annotations": [{"image_id": 1}]}', r"annotations\[0\]: 'category_id' is missing"),
    ],
)
def test_a_damaged_index_is_named_with_the_line(build: Build, content: str, message: str) -> None:
    folder = build([])
    (folder.root / "annotations" / "instances_train2017.json").write_text(content)
    with pytest.raises(DataError, match=rf"instances_train2017\.json: .*{message}"):
        folder.records("train")


def test_an_index_that_cannot_be_opened_is_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    folder = build([])
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"instances_train2017\.json: cannot be read \(Permission denied\)"):
        folder.records("train")


def annotated(size: tuple[int, int], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON of one photograph of (width, height)."""
    image = {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}
    return copy.deepcopy({"images": [image], "annotations": annotations, "categories": CATEGORIES})


def written(root: Path, content: Any) -> CocoFolder:
    """Return a folder with this JSON for its training split, and without photographs."""
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return CocoFolder(root)


def positions(content: Any) -> list[tuple[Any, Any]]:
    """Return container and index or key of every value inside nested lists and mappings."""
    entries = list(content.items() if isinstance(content, dict) else enumerate(content))
    below = [position for _, value in entries if isinstance(value, dict | list) for position in positions(value)]
    return [(content, key) for key, _ in entries] + below


AWKWARD = st.sampled_from([float("inf"), float("nan"), 10**400, -(2**63), "1", "\ud800", "a\0.jpg", None, True])
JSON = st.recursive(
    AWKWARD | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "size", "counts"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(data=st.data())
@hypothesis_settings(max_examples=400)
def test_an_index_with_any_damage_is_read_or_named(tmp_path: Path, data: st.DataObject) -> None:
    triangle, crowd = [[0, 0, 4, 0, 4, 4]], {"size": [6, 8], "counts": [5, 3, 40]}
    content = annotated((8, 6), [annotation(triangle), annotation(crowd, 7, iscrowd=1)])
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(positions(content)))
        if data.draw(st.integers(0, 3)):
            container[key] = data.draw(AWKWARD | JSON)
        else:
            del container[key]
    folder = written(tmp_path, content)
    try:
        for record in folder.records("train"):
            record.source.encode()
            labelled = folder.label_map(record, CLASS_OF, 0, Frame(8, 6))
            assert labelled.shape == (6, 8) and {*np.unique(labelled)} <= {0, 1, 2, 255}
    except DataError as error:
        assert str(tmp_path) in str(error)


@given(content=JSON)
def test_json_of_any_other_shape_is_named(tmp_path: Path, content: Any) -> None:
    folder = written(tmp_path, content)
    with pytest.raises(DataError, match=r"instances_train2017\.json"):
        folder.records("train")


@st.composite
def instances(draw: st.DrawFn, width: int, height: int) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Draw an annotation and its pixels; pycocotools fills polygons in the full frame."""
    kind = draw(st.sampled_from(["rectangle", "polygons", "runs", "code"]))
    more = {"category": draw(st.sampled_from([1, 7])), "iscrowd": draw(st.sampled_from([0, 1]))}
    if kind == "rectangle":
        left, right = sorted(draw(st.tuples(*[st.integers(-3, width + 3)] * 2)))
        top, bottom = sorted(draw(st.tuples(*[st.integers(-3, height + 3)] * 2)))
        pixels = np.zeros((height, width), np.bool_)
        pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
        return annotation([rectangle(left, top, right, bottom)], **more), pixels
    if kind == "polygons":
        corner = st.tuples(st.integers(-20, 10 * width + 20), st.integers(-20, 10 * height + 20))
        polygons = draw(st.lists(st.lists(corner, min_size=3, max_size=6), min_size=1, max_size=2))
        flat = [[tenths / 10 for point in polygon for tenths in point] for polygon in polygons]
        merged = rle_masks.merge(rle_masks.frPyObjects(flat, height, width))
        return annotation(flat, **more), rle_masks.decode(merged).astype(np.bool_)
    bits = draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
    pixels = np.array(bits).reshape((height, width), order="F")
    if kind == "code":
        counts: Any = rle_masks.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()
    else:
        counts = [0] * bits[0] + [len(list(run)) for _, run in groupby(bits)]  # the first run is of zeros
    return annotation({"size": [height, width], "counts": counts}, **more), pixels


@given(data=st.data())
@hypothesis_settings(max_examples=300)
def test_instances_of_every_kind_equal_a_simple_reference(tmp_path: Path, data: st.DataObject) -> None:
    width, height = data.draw(st.tuples(st.integers(1, 16), st.integers(1, 16)))
    drawn = data.draw(st.lists(instances(width, height), max_size=4))
    folder = written(tmp_path, annotated((width, height), [entry for entry, _ in drawn]))
    expected = np.zeros((height, width), np.uint8)
    for entry, pixels in sorted(drawn, key=lambda instance: -instance[1].sum()):
        expected[pixels] = 255 if entry["iscrowd"] else {1: 1, 7: 2}[entry["category_id"]]
    (record,) = folder.records("train")
    assert np.array_equal(folder.label_map(record, CLASS_OF, 0, Frame(width, height)), expected)


@pytest.mark.parametrize("left", [0, 1, 15, 16, 31, 32, 33, 511, 512, 697])
def test_an_instance_far_to_the_right_is_painted_correctly(left: int, build: Build) -> None:
    expected = np.zeros((2, 700), np.uint8)
    expected[:, left : left + 3] = 1
    folder = build([annotation([rectangle(left, 0, left + 3, 2)])], size=(700, 2))
    assert np.array_equal(labels(folder), expected)


def test_without_json_photographs_have_no_labels(build: Build) -> None:
    folder = build([])
    (folder.root / "annotations" / "instances_train2017.json").unlink()
    (folder.root / "train2017" / "._a.jpg").touch()
    assert only(folder).source == "train2017/a.jpg"
    for ask in (lambda: labels(folder), lambda: folder.categories):
        with pytest.raises(DataError, match=r"instances_train2017\.json"):
            ask()


def test_missing_files_are_named(build: Build, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test"):
        build([]).records("test")
    with pytest.raises(DataError, match="nowhere"):
        CocoFolder(tmp_path / "nowhere")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
def test_real_labels_equal_those_of_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    folder = CocoFolder(REAL)
    class_of = {name: number for number, name in enumerate(folder.categories, start=1)}
    reference = COCO(REAL / "annotations" / "instances_val2017.json")
    records = folder.records("val")
    assert len(records) == 133 and len(class_of) == 80 and len(folder.records("unlabeled")) == 736
    for record in records:
        image = int(record.key.partition("/")[2])
        masks = [
            (
                reference.annToMask(entry),
                255 if entry["iscrowd"] else class_of[reference.cats[entry["category_id"]]["name"]],
            )
            for entry in reference.imgToAnns[image]
        ]
        expected = np.zeros((reference.imgs[image]["height"], reference.imgs[image]["width"]), np.uint8)
        for mask, label in sorted(masks, key=lambda pair: -int(pair[0].sum())):
            expected[mask == 1] = label
        assert np.array_equal(folder.label_map(record, class_of, 0), expected), record.source
