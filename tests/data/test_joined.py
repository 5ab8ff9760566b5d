"""Training pictures of several splits and data sets (the setting `additional_pictures`)."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.errors import DataError, SettingsError
from palimpsest.jobs import preparation_job
from palimpsest.layout import Layout
from palimpsest.params import resolve
from palimpsest.settings import Settings
from pipeline.prepare import main
from tests.conftest import nested

Content = dict[str, Any]


class Options:
    """Arguments of the stage."""

    task = "colorize"


def paint(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (200, colour, 7)).save(path)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Return a function that resolves settings of two folders: `one` with three splits, `two` with one.

    Both have a picture at `train2017/000000000001.jpg`, and a copy of one picture of `one` is in `two`.
    """
    for index, (folder, split) in enumerate(
        [("one", "unlabeled"), ("one", "train"), ("one", "val"), ("two", "train")]
    ):
        pictures = []
        for number in (1, 2, 3):
            name = f"{number:012}.png"
            paint(tmp_path / folder / f"{split}2017" / name, 10 * index + number)
            pictures.append({"id": number, "file_name": name, "width": 40, "height": 40})
        stem = "image_info" if split == "unlabeled" else "instances"
        annotations = tmp_path / folder / "annotations" / f"{stem}_{split}2017.json"
        annotations.parent.mkdir(parents=True, exist_ok=True)
        annotations.write_text(json.dumps({"images": pictures, "annotations": [], "categories": []}))
    monkeypatch.chdir(tmp_path)
    one, two = ({"format": "coco", "source": "directory", "root": str(tmp_path / name)} for name in ("one", "two"))
    pairs = {"format": "paired", "source": "directory", "root": str(tmp_path / "pairs")}
    task = {"kind": "colorization", "data": "one", "splits": {"train": "unlabeled"}}
    content = {
        "preset": "tiny",
        "defaults": {"methods": ["scratch"], "sequence": ["colorize"], "pictures": {"size": 32, "crop": 32}},
        "presets": {"tiny": {"datasets": {"one": one, "two": two, "pairs": pairs}, "tasks": {"colorize": task}}},
    }
    return lambda **values: resolve(content, nested("tasks/colorize", values) | {"pictures": {"dev_share": 0}})


def sources(settings: Settings, split: str = "train") -> list[str]:
    layout = Layout("tiny")
    main(settings, layout, Options())  # type: ignore[arg-type]
    arrays = Prepared.open(layout.prepared("colorize"))
    return [arrays.sources[row] for row in arrays.rows(split)]


def test_pictures_of_other_splits_and_data_sets_are_added_to_the_training_pictures(
    settings: Callable[..., Settings],
) -> None:
    joined = settings(additional_pictures={"one": ["train"], "two": ["train"]})
    names = [
        f"{folder}2017/{number:012}.png" for folder in ("unlabeled", "train", "two/train") for number in (1, 2, 3)
    ]
    assert sources(joined) == names
    assert sources(joined, "val") == [f"val2017/{number:012}.png" for number in (1, 2, 3)]
    info = Prepared.open(Layout("tiny").prepared("colorize")).info
    assert info["splits"]["train"] == {
        "from": "unlabeled + one/train + two/train",
        "pictures": 9,
        "refused": 0,
        "broken": 0,
    }


def test_without_the_setting_only_the_split_of_the_task_is_read(settings: Callable[..., Settings]) -> None:
    assert len(sources(settings())) == 3


def test_a_validation_picture_that_is_added_to_the_training_is_not_measured(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    copied = tmp_path / "two/train2017/000000000002.png"
    copied.write_bytes((tmp_path / "one/val2017/000000000003.png").read_bytes())
    joined = settings(additional_pictures={"two": ["train"]})
    assert sources(joined, "val") == [f"val2017/{number:012}.png" for number in (1, 2)]


def test_the_settings_of_every_data_set_decide_the_arrays(settings: Callable[..., Settings]) -> None:
    job = preparation_job(settings(additional_pictures={"two": ["train"]}), "colorize")
    assert job.additional_pictures["two"].dataset.root == Path.cwd() / "two"
    assert job.digest() != preparation_job(settings(), "colorize").digest()


def test_copies_are_recognised_between_pairs_and_pictures(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for number in (1, 2):
        for role in ("input", "target"):
            paint(tmp_path / f"pairs/train/{role}/{number}.png", 50 + number)
    (tmp_path / "pairs/train/input/2.png").write_bytes((tmp_path / "one/val2017/000000000003.png").read_bytes())
    joined = settings(additional_pictures={"pairs": ["train"]})
    assert sources(joined)[3:] == ["pairs/train/input/1.png", "pairs/train/input/2.png"]
    assert sources(joined, "val") == [f"val2017/{number:012}.png" for number in (1, 2)]


def test_reasons_contain_no_folder_of_any_data_set(settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "two/train2017/000000000002.png").write_bytes(b"no picture")
    joined = settings(additional_pictures={"two": ["train"]})
    with pytest.raises(DataError):  # one of six is above the limit of broken pictures
        sources(joined)
    sources(joined.model_copy(update={"pictures": joined.pictures.model_copy(update={"broken_share": 0.5})}))
    (entry,) = Prepared.open(Layout("tiny").prepared("colorize")).info["left_out"]
    assert entry["source"] == "two/train2017/000000000002.png" and str(tmp_path) not in entry["reason"]


@pytest.mark.parametrize(
    ("additional", "message"),
    [
        ({"one": ["unlabeled"]}, "one: 'unlabeled' is also in splits.train; remove it from one of them"),
        ({"one": ["val"]}, "one: 'val' is also in splits.val; remove it from one of them"),
        (
            {"two": ["train", "train"]},
            "two: 'train' is also in additional_pictures.two; remove it from one of them",
        ),
        ({"tow": ["train"]}, "unknown data set 'tow'; did you mean 'two'?"),
    ],
)
def test_splits_that_add_nothing_are_refused(
    settings: Callable[..., Settings], additional: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^tasks\.colorize\.additional_pictures[.:] ?{re.escape(message)}$"):
        settings(additional_pictures=additional)


def test_a_task_with_targets_has_no_additional_pictures(params_yaml: Content) -> None:
    message = (
        "tasks.coco-seg.additional_pictures: a task of kind segmentation has targets, and additional pictures have "
        "none; remove additional_pictures"
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        resolve(params_yaml, nested("tasks/coco-seg/additional_pictures/voc", ["train"]))
