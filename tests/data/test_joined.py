"""Training pictures of several splits and data sets (the setting `additional`)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.errors import SettingsError
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
    task = {"kind": "colorization", "data": "one", "splits": {"train": "unlabeled"}}
    content = {
        "preset": "tiny",
        "defaults": {"methods": ["scratch"], "sequence": ["colorize"], "pictures": {"size": 32, "crop": 32}},
        "presets": {"tiny": {"datasets": {"one": one, "two": two}, "tasks": {"colorize": task}}},
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
    joined = settings(additional={"one": ["train"], "two": ["train"]})
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
    joined = settings(additional={"two": ["train"]})
    assert sources(joined, "val") == [f"val2017/{number:012}.png" for number in (1, 2)]


def test_the_settings_of_every_data_set_decide_the_arrays(settings: Callable[..., Settings]) -> None:
    job = preparation_job(settings(additional={"two": ["train"]}), "colorize")
    assert job.additional["two"].dataset.root == Path.cwd() / "two"
    assert job.digest() != preparation_job(settings(), "colorize").digest()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "tasks/coco-seg/additional/voc",
            "tasks.coco-seg.additional: a task of kind segmentation has targets, and additional pictures have "
            "none; remove additional",
        ),
        ("tasks/colorize/additional/vok", "tasks.colorize.additional: unknown data set 'vok'; did you mean 'voc'?"),
    ],
)
def test_additional_pictures_without_use_are_refused(params_yaml: Content, path: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolve(params_yaml, nested(path, ["train"]))
    assert str(error.value) == message
