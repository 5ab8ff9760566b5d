"""Counts of pictures by category, and `palimpsest classes`."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from palimpsest import class_counts
from palimpsest.class_counts import ClassCount, MinimumCounts, classes_yaml, count_classes, tables
from palimpsest.cli import main
from palimpsest.data.classes import class_mapping
from palimpsest.data.voc import GROUPS, VOC_CLASSES
from palimpsest.errors import DataError, SettingsError
from palimpsest.params import resolve
from palimpsest.settings import Settings

REAL = Path(__file__).parents[1] / ".." / "shared" / "realdata"
SIDE = 16
ANIMALS = {"cat": "animal", "dog": "animal", "bed": "furniture"}

Pictures = Mapping[str, Sequence[Sequence[str]]]
"""Categories of each picture, by split."""


def draw(path: Path, number: int) -> None:
    """Write a picture that differs from those of other numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE, SIDE), (number, 80, 120)).save(path)


def strip(position: int) -> list[int]:
    """Return the outline of a strip, two pixels wide and as high as the picture."""
    left, right = 2 * position, 2 * position + 2
    return [left, 0, right, 0, right, SIDE, left, SIDE]


def write_coco(
    root: Path, pictures: Pictures, groups: Mapping[str, str] = ANIMALS, **fields: Any
) -> dict[str, Any]:
    """Write a data set in COCO layout with one strip per annotation, and return its settings.

    ``groups`` has the supercategory of each category; ``fields`` are further fields of each annotation.
    """
    categories = [{"id": i, "name": name, "supercategory": group} for i, (name, group) in enumerate(groups.items())]
    ids = {category["name"]: category["id"] for category in categories}
    number = 0
    for split, contents in pictures.items():
        images, annotations = [], []
        for names in contents:
            number += 1
            draw(root / f"{split}2017" / f"{number}.png", number)
            images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
            for position, name in enumerate(names):
                entry = {"image_id": number, "category_id": ids[name], "segmentation": [strip(position)]}
                annotations.append({"id": len(annotations), **entry, **fields})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return {"format": "coco", "source": "directory", "root": str(root)}


def label_map(names: Sequence[str], numbers: Mapping[str, int]) -> Image.Image:
    """Return a label map with one strip per name, and an ignored strip at the right."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for position, name in enumerate(names):
        labels[:, 2 * position : 2 * position + 2] = numbers[name]
    labels[:, -2:] = 255
    return Image.fromarray(labels)


def write_voc(root: Path, pictures: Pictures) -> dict[str, Any]:
    """Write a data set in VOC layout, and return its settings."""
    home = root / "VOCdevkit" / "VOC2012"
    for folder in ("SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    numbers = {name: label for label, name in enumerate(VOC_CLASSES, start=1)}
    for split, contents in pictures.items():
        for number, names in enumerate(contents):
            draw(home / "JPEGImages" / f"{split}{number}.png", 100 * (split == "val") + number)
            label_map(names, numbers).save(home / "SegmentationClass" / f"{split}{number}.png")
        listed = "".join(f"{split}{number}\n" for number in range(len(contents)))
        (home / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(listed)
    return {"format": "voc", "source": "directory", "root": str(root)}


def write_table(root: Path, pictures: Pictures, labels: Mapping[str, int]) -> dict[str, Any]:
    """Write a data set that a table per split lists, and return its settings."""
    (root / "maps").mkdir(parents=True)
    for split, contents in pictures.items():
        rows = ["picture,target"]
        for number, names in enumerate(contents):
            row = [f"pictures/{split}{number}.png", f"maps/{split}{number}.png"]
            draw(root / row[0], 100 * (split == "val") + number)
            label_map(names, labels).save(root / row[1])
            rows.append(",".join(row))
        (root / f"{split}.csv").write_text("\n".join(rows))
    return {
        "format": "table",
        "source": "directory",
        "root": str(root),
        "table": {split: f"{split}.csv" for split in pictures},
        "columns": {"target": "target"},
        "labels": dict(labels),
    }


@pytest.fixture
def settings_of(content: dict[str, Any]) -> Callable[..., Settings]:
    """Return a function that makes settings of a data set and one task on it."""

    def make(dataset: Mapping[str, Any], **task: Any) -> Settings:
        values = {"kind": "segmentation", "data": "drawn", "classes": {"any": ["any"]}, **task}
        content["defaults"] |= {"datasets": {"drawn": dict(dataset)}, "tasks": {"parts": values}}
        content["defaults"]["sequence"] = ["parts"]
        return resolve(content)

    return make


def numbers_of(counts: Sequence[ClassCount]) -> dict[str, tuple[int, int]]:
    return {count.name: (count.train, count.val) for count in counts}


MIXED: Pictures = {"train": [["cat", "cat"], ["cat", "dog"], ["dog"], []], "val": [["dog"], ["bed"], []]}


def test_pictures_of_a_folder_in_coco_layout(tmp_path: Path, settings_of: Callable[..., Settings]) -> None:
    counts = count_classes(settings_of(write_coco(tmp_path, MIXED)), "parts")
    assert numbers_of(counts) == {"cat": (2, 0), "dog": (2, 1), "bed": (0, 1), "animal": (3, 1)}
    assert [(count.name, count.members) for count in counts if count.is_group] == [("animal", ("cat", "dog"))]


def test_crowd_regions_do_not_count(tmp_path: Path, settings_of: Callable[..., Settings]) -> None:
    counts = count_classes(settings_of(write_coco(tmp_path, MIXED, iscrowd=1)), "parts")
    assert {*numbers_of(counts).values()} == {(0, 0)}


def test_pictures_of_a_folder_in_voc_layout(tmp_path: Path, settings_of: Callable[..., Settings]) -> None:
    pictures = {"train": [["cat", "person"], ["cow"], ["cat"]], "val": [["person"], ["tvmonitor"]]}
    counts = count_classes(settings_of(write_voc(tmp_path, pictures)), "parts")
    numbers = numbers_of(counts)
    assert list(numbers) == [*VOC_CLASSES, "vehicle", "animal", "indoor"]  # person is a class and a group of one
    assert {name: number for name, number in numbers.items() if number != (0, 0)} == {
        "cat": (2, 0),
        "cow": (1, 0),
        "person": (1, 1),
        "tvmonitor": (0, 1),
        "animal": (3, 0),
        "indoor": (0, 1),
    }


def test_pictures_of_a_table(tmp_path: Path, settings_of: Callable[..., Settings]) -> None:
    pictures = {"train": [["road", "background"], ["road", "car"]], "val": [["car"]]}
    dataset = write_table(tmp_path, pictures, {"background": 3, "road": 7, "car": 26})
    counts = count_classes(settings_of(dataset), "parts")
    assert numbers_of(counts) == {"road": (2, 0), "car": (1, 1)}  # no class may be named background


def test_more_categories_than_labels_are_counted_in_parts(
    tmp_path: Path, settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(write_coco(tmp_path, MIXED))
    at_once = count_classes(settings, "parts")
    monkeypatch.setattr(class_counts, "MAX_LABELS", 2)
    assert count_classes(settings, "parts") == at_once


def test_the_splits_and_the_limits_are_those_of_the_task(
    tmp_path: Path, settings_of: Callable[..., Settings]
) -> None:
    dataset = write_coco(tmp_path, MIXED)
    swapped = count_classes(settings_of(dataset, splits={"train": "val", "val": "train"}), "parts")
    assert numbers_of(swapped) == {"cat": (0, 2), "dog": (1, 2), "bed": (1, 0), "animal": (1, 3)}
    one_split = {"train": "train", "val": "train"}
    limited = count_classes(settings_of(dataset, splits=one_split, images={"train": 3}), "parts")
    assert sum(numbers_of(limited)["animal"]) == 3  # val has the fourth picture


def test_copies_and_broken_pictures_are_left_out(tmp_path: Path, settings_of: Callable[..., Settings]) -> None:
    dataset = write_voc(tmp_path, {"train": [["cat"]] * 3, "val": [["cat"]] * 4})
    pictures = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages"
    shutil.copyfile(pictures / "train0.png", pictures / "val0.png")
    (pictures / "val1.png").write_bytes(b"")
    settings = settings_of(dataset)
    with pytest.raises(DataError, match=r"val from 'val': 1 of 3 pictures are broken, and the limit is 1\.0%"):
        count_classes(settings, "parts")
    tolerant = settings.model_copy(update={"pictures": settings.pictures.model_copy(update={"broken_share": 0.5})})
    assert numbers_of(count_classes(tolerant, "parts"))["cat"] == (3, 2)


def test_a_name_of_a_category_and_a_supercategory(tmp_path: Path, settings_of: Callable[..., Settings]) -> None:
    groups = {"things": "none", "cup": "things", "fork": "things"}
    placeholder = write_coco(tmp_path / "a", {"train": [["cup"], ["fork"]], "val": [["cup"]]}, groups)
    counts = count_classes(settings_of(placeholder), "parts")
    assert numbers_of(counts) == {"things": (2, 1), "cup": (1, 1), "fork": (1, 0)}
    assert next(count for count in counts if count.is_group).members == ("things", "cup", "fork")
    annotated = write_coco(tmp_path / "b", {"train": [["cup"], ["things"]], "val": [["cup"]]}, groups)
    counts = count_classes(settings_of(annotated), "parts")
    assert numbers_of(counts) == {"things": (1, 0), "cup": (1, 1), "fork": (0, 0)}
    assert not any(count.is_group for count in counts)


@pytest.mark.parametrize(
    ("train", "val", "is_met"), [(80, 15, True), (79, 15, False), (80, 14, False), (500, 14, False), (81, 16, True)]
)
def test_both_limits_of_the_rule_apply(train: int, val: int, is_met: bool) -> None:
    assert MinimumCounts(80, 15).is_met(ClassCount("cat", ("cat",), train, val)) is is_met


COUNTS = [
    ClassCount("cat", ("cat",), 9, 3),
    ClassCount("dog", ("dog",), 4, 3),
    ClassCount("cup", ("cup",), 4, 5),
    ClassCount("fork", ("fork",), 3, 4),
    ClassCount("animal", ("cat", "dog"), 11, 6),
    ClassCount("kitchen", ("cup", "fork"), 6, 7),
]


def test_the_tables_are_sorted_by_number() -> None:
    rows = [line.split() for line in tables(COUNTS, MinimumCounts(5, 3)).splitlines()]
    header = ["training", "pictures", "validation", "pictures", "enough"]
    assert rows == [
        ["category", *header],
        ["cat", "9", "3", "yes"],
        ["cup", "4", "5", "no"],
        ["dog", "4", "3", "no"],
        ["fork", "3", "4", "no"],
        [],
        ["supercategory", *header],
        ["animal", "11", "6", "yes"],
        ["kitchen", "6", "7", "yes"],
    ]
    assert "supercategory" not in tables(COUNTS[:4], MinimumCounts(5, 3))


def test_a_supercategory_is_a_class_only_if_no_member_is_one() -> None:
    assert classes_yaml(COUNTS, MinimumCounts(5, 3)).splitlines() == [
        "classes:",
        "  cat: [cat]",
        "  # animal: [animal] # in place of cat",
        "  kitchen: [kitchen]",
    ]


def test_without_a_class_a_comment_says_what_to_change() -> None:
    text = classes_yaml(COUNTS, MinimumCounts(12, 3))
    assert text.startswith(
        "# no category is in at least 12 training and 3 validation pictures; lower --min-train or --min-val"
    )
    assert yaml.safe_load(text) is None


def test_a_task_gets_no_more_classes_than_the_settings_allow() -> None:
    counts = [ClassCount(f"c{number}", (f"c{number}",), number, 9) for number in range(1, 257)]
    lines = classes_yaml(counts, MinimumCounts(1, 1)).splitlines()
    assert lines[1:3] == [f"  # c{n}: [c{n}] # in place of another: a task has at most 254 classes" for n in (1, 2)]
    assert len(yaml.safe_load("\n".join(lines))["classes"]) == 254


@pytest.mark.parametrize("name", ["11", "yes", "traffic light", "a: b", "Straße", "can (0.5 l)"])
def test_any_name_of_a_category_can_be_pasted(name: str, settings_of: Callable[..., Settings]) -> None:
    ((label, members),) = yaml.safe_load(classes_yaml([ClassCount(name, (name,), 9, 9)], MinimumCounts(1, 1)))[
        "classes"
    ].items()
    assert members == [name] and label == name.replace("(", "-").replace(")", "-")
    settings_of({"format": "coco", "source": "directory", "root": "own"}, classes={label: members})


PAIRED = {"format": "paired", "source": "directory", "root": "own"}


def test_a_task_without_classes_is_refused(content: dict[str, Any]) -> None:
    message = "a task of kind colorization has no classes; choose from shapes, halves"
    with pytest.raises(SettingsError, match=rf"^tasks\.colour: {message}$"):
        count_classes(resolve(content), "colour")
    content["defaults"]["datasets"]["drawn"] = PAIRED
    content["defaults"] |= {"sequence": ["pairs"], "tasks": {"pairs": {"kind": "paired", "data": "drawn"}}}
    message = "a task of kind paired has no classes; choose a task of kind segmentation"
    with pytest.raises(SettingsError, match=rf"^tasks\.pairs: {message}$"):
        count_classes(resolve(content), "pairs")


def test_a_data_set_that_is_not_made_yet_is_named_with_the_command(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = "data/tiny/raw/drawn/manifest.json"
    command = f"snakemake --cores all {manifest} --config preset=tiny"
    with pytest.raises(DataError, match=f"^{manifest}: is missing; `{command}` makes it with the data set$"):
        count_classes(resolve(content), "shapes")


def test_a_split_without_annotations_is_refused(tmp_path: Path, settings_of: Callable[..., Settings]) -> None:
    dataset = write_coco(tmp_path, MIXED)
    draw(tmp_path / "unlabeled2017" / "0.png", 0)
    with pytest.raises(DataError, match="missing or without annotations, which a task with classes needs"):
        count_classes(settings_of(dataset, splits={"val": "unlabeled"}), "parts")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]) -> Path:
    """Return a working directory with `params.yaml`, whose preset `downloaded` reads VOC."""
    dataset = {"format": "voc", "source": "download", "archives": ["VOCtrainval_11-May-2012.tar"]}
    content["presets"]["downloaded"] = {
        "datasets": {"voc": dataset},
        "tasks": {"shapes": {"data": "voc"}, "halves": {"data": "voc"}},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_prints_tables_and_yaml(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_voc(folder / "own" / "voc", {"train": [["cat"], ["cat", "cow"], ["boat"]], "val": [["cat"], ["boat"]]})
    command = ["classes", "--task", "shapes", "--config", "preset=downloaded", "data_root=own"]
    assert main([*command, "--min-train", "2", "--min-val", "1"]) == 0
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines()[1:4]] == [
        ["cat", "2", "1", "yes"],
        ["boat", "1", "1", "no"],
        ["cow", "1", "0", "no"],
    ]
    setting = printed[printed.index("classes:") :]
    assert setting == "classes:\n  cat: [cat]\n  # animal: [animal] # in place of cat\n"
    assert class_mapping(yaml.safe_load(setting)["classes"], GROUPS)[0] == ["background", "cat"]
    assert main(command) == 0  # the defaults
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("# no category is in at least 80 training and 15 val")
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--task", "shaped"], 2, "--task: unknown value 'shaped'; did you mean 'shapes'?"),
        (["--task", "colour"], 1, "tasks.colour: a task of kind colorization has no classes; choose from"),
        (
            ["--task", "shapes"],
            1,
            "data/tiny/raw/drawn/manifest.json: is missing; `snakemake --cores all data/tiny/",
        ),
        (
            ["--task", "shapes", "--min-val", "0"],
            2,
            "invalid value for '--min-val': Input should be greater than or equal to 1; see",
        ),
        (["--task", "shapes", "--config", "mini"], 2, "--config: 'mini' is not a setting; write KEY=VALUE"),
        (
            ["--task", "shapes", "--config", "preset=downloaded", "data_root=none"],
            1,
            "none/voc/VOCdevkit/VOC2012/ImageSets/Segmentation: no such folder; correct",
        ),
    ],
)
def test_errors_of_the_command_are_one_line(
    folder: Path, arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classes", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"error: {message}") and captured.err.count("\n") == 1


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
def test_classes_of_the_real_photographs(params_yaml: dict[str, Any]) -> None:
    counts = count_classes(resolve(params_yaml, {"preset": "real", "data_root": str(REAL)}), "voc-seg")
    kept = [count.name for count in counts if MinimumCounts(80, 15).is_met(count) and not count.is_group]
    assert kept == ["car", "cat", "chair", "cow", "dog", "horse", "person", "sheep", "sofa"]
    numbers = numbers_of(counts)
    assert numbers["person"] == (471, 89) and numbers["car"] == (89, 16) and numbers["pottedplant"] == (63, 8)
