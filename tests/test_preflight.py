"""Faults that are refused before any work, before a job fails late."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palimpsest import preflight
from palimpsest.data.coco import INDEX
from palimpsest.data.download import DOWNLOADS
from palimpsest.data.generated import COCO_FIRST_ID, generate_coco, generate_voc
from palimpsest.data.public_checks import COCO_ARCHIVES, SUPERCATEGORIES, VOC_ARCHIVES
from palimpsest.data.scenes import coco
from palimpsest.errors import SettingsError
from palimpsest.params import merge_settings, resolve
from palimpsest.settings import Settings
from tests.conftest import nested

Content = dict[str, Any]


@pytest.fixture
def resolved(
    params_yaml: Content, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """Return a function that overrides the repository's settings, in a folder with only its paintings."""
    monkeypatch.chdir(tmp_path)
    Path("styles").symlink_to(root / "styles")
    return lambda over: resolve(params_yaml, over)


def refused(settings: Settings, message: str) -> None:
    """Check that the settings are refused with a message that begins like this."""
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        preflight.check_settings(settings)


@pytest.mark.parametrize("preset", ["mini", "real", "paper"])
def test_the_settings_of_the_repository_pass(resolved: Callable[..., Settings], preset: str) -> None:
    preflight.check_settings(resolved({"preset": preset}))


@pytest.mark.parametrize(
    "key",
    [
        "tasks.style-gogh.picture",
        "tasks.style-gogh.weights",
        "base.encoder_weights",
        "network.encoder_weights",
    ],
)
def test_a_missing_file_of_the_user_is_refused_with_its_key(resolved: Callable[..., Settings], key: str) -> None:
    refused(
        resolved(merge_settings({"network": {"encoder": "resnet18"}}, nested(key.replace(".", "/"), "lost.bin"))),
        f"{key}: file lost.bin does not exist; correct the path",
    )


def test_a_painting_that_is_no_picture_is_refused_with_its_key(resolved: Callable[..., Settings]) -> None:
    Path("notes.txt").write_text("no picture")
    settings = resolved(nested("tasks/style-gogh/picture", "notes.txt"))
    refused(settings, "tasks.style-gogh.picture: notes.txt: not a picture")


@pytest.mark.parametrize(
    ("preset", "path", "value", "message"),
    [
        (
            "mini",
            "datasets/coco/generate",
            {"trian2017": 3},
            "datasets.coco.generate: unknown split 'trian2017'; did you mean 'train2017'?",
        ),
        (
            "mini",
            "datasets/voc/generate",
            {"test": 3},
            "datasets.voc.generate: unknown split 'test'; choose from train, val",
        ),
        (
            "mini",
            "tasks/coco-seg/splits/train",
            "tran",
            "tasks.coco-seg.splits.train: data set 'coco' has no annotated split 'tran'; did you mean 'train'?",
        ),
        (
            "mini",
            "tasks/coco-seg/splits/train",
            "unlabeled",
            "tasks.coco-seg.splits.train: data set 'coco' has no annotated split 'unlabeled'; "
            "choose from train, val",
        ),
        (
            "mini",
            "tasks/colorize/splits/val",
            "val2017",
            "tasks.colorize.splits.val: data set 'coco' has no split 'val2017'; did you mean 'val'?",
        ),
        (
            "mini",
            "tasks/colorize/additional_pictures",
            {"coco": ["train"], "voc": ["trian"]},
            "tasks.colorize.additional_pictures.voc: data set 'voc' has no split 'trian'; did you mean 'train'?",
        ),
        (
            "mini",
            "tasks/voc-seg/splits/train",
            "trainval",
            "tasks.voc-seg.splits.train: data set 'voc' has no annotated split 'trainval'; did you mean 'train'?",
        ),
        (
            "mini",
            "tasks/coco-seg/classes",
            {"fruit": ["bananna"]},
            "tasks.coco-seg.classes.fruit: unknown category 'bananna'; did you mean 'banana'?",
        ),
        (
            "mini",
            "tasks/coco-seg/classes",
            {"fruit": ["food", "dog"]},
            "tasks.coco-seg.classes.fruit: unknown category 'dog'",
        ),
        (
            "mini",
            "tasks/voc-seg/classes",
            {"pet": ["cat", "dog"]},
            "tasks.voc-seg.classes.pet: generated pictures show none of cat, dog; choose from aeroplane, boat, ",
        ),
        (
            "mini",
            "tasks/voc-seg/classes",
            {"moving": ["vehicle"], "ship": ["boat"]},
            "tasks.voc-seg.classes.ship: 'boat' is already in 'moving'; remove one",
        ),
        (
            "real",
            "datasets/coco/archives",
            ["val217.zip"],
            "datasets.coco.archives: unknown archive 'val217.zip'; did you mean 'val2017.zip'?",
        ),
        (
            "real",
            "datasets/coco/archives",
            ["val2017.zip"],
            "datasets.coco.archives: annotations_trainval2017.zip is missing; add it, or train2017.zip",
        ),
        (
            "paper",
            "datasets/coco/archives",
            ["train2017.zip", "val2017.zip", "annotations_trainval2017.zip"],
            "tasks.colorize.splits.train: data set 'coco' has no split 'unlabeled'; choose from train, val",
        ),
        (
            "paper",
            "tasks/coco-seg/classes",
            {"cat": ["catt"]},
            "tasks.coco-seg.classes.cat: unknown category 'catt'; did you mean 'cat'?",
        ),
        (
            "real",
            "tasks/voc-seg/classes",
            {"pet": ["doggo"]},
            "tasks.voc-seg.classes.pet: unknown category 'doggo'; did you mean 'dog'?",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_its_key_and_the_nearest_name(
    resolved: Callable[..., Settings], params_yaml: Content, preset: str, path: str, value: object, message: str
) -> None:
    *groups, last = path.split("/")
    below = params_yaml["presets"][preset]
    for group in groups:
        below = below.setdefault(group, {})
    below[last] = value
    refused(resolved({"preset": preset}), message)


def test_a_class_that_generated_pictures_contain_in_part_passes(resolved: Callable[..., Settings]) -> None:
    preflight.check_settings(resolved(nested("tasks/voc-seg/classes", {"sheep": ["sheep", "cow"]})))


def test_a_task_that_is_not_learned_is_not_checked(resolved: Callable[..., Settings]) -> None:
    lost = nested("tasks/style-gogh/picture", "lost.jpg")
    preflight.check_settings(resolved({**lost, "sequence": ["coco-seg", "voc-seg"]}))


def user_settings(root: str, data_format: str = "coco", **splits: str) -> Content:
    """Return the settings of a task on a user's folder."""
    return {
        "datasets": {"mine": {"format": data_format, "source": "directory", "root": root}},
        "tasks": {"mine": {"kind": "paired" if data_format == "paired" else "colorization", "data": "mine"}},
        "sequence": ["coco-seg", "mine"],
    } | ({"tasks": {"mine": {"kind": "colorization", "data": "mine", "splits": splits}}} if splits else {})


def test_a_missing_folder_is_refused_unless_its_files_are_listed(
    resolved: Callable[..., Settings],
) -> None:
    settings = resolved(user_settings("lost"))
    refused(settings, "datasets.mine.root: folder lost does not exist; correct it")
    manifest = settings.layout.manifest("mine")
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    preflight.check_settings(settings)


def test_a_missing_data_root_is_named(resolved: Callable[..., Settings]) -> None:
    settings = resolved({"preset": "real", "data_root": "lost"})
    refused(settings, "datasets.coco.root: folder lost/coco does not exist; correct data_root")


def test_splits_of_a_folder_are_those_with_existing_files(resolved: Callable[..., Settings]) -> None:
    generate_coco(Path("coco"), {"train2017": 1, "unlabeled2017": 1}, 32, seed=0)
    generate_voc(Path("voc"), {"train": 1, "val": 1}, 32, seed=0)
    preflight.check_settings(resolved(user_settings("coco", train="train", val="unlabeled")))
    preflight.check_settings(resolved(user_settings("voc", "voc", train="train", val="val")))
    missing = resolved(user_settings("coco", train="train", val="val"))
    refused(missing, "tasks.mine.splits.val: data set 'mine' has no split 'val'; choose from train, unlabeled")
    misspelt = resolved(user_settings("voc", "voc", train="train", val="vall"))
    refused(misspelt, "tasks.mine.splits.val: data set 'mine' has no split 'vall'; did you mean 'val'?")
    prepared = misspelt.layout.prepared("mine")
    prepared.mkdir(parents=True)
    (prepared / "info.json").touch()
    preflight.check_settings(misspelt)


def test_annotations_are_required_for_tasks_with_classes(resolved: Callable[..., Settings]) -> None:
    generate_coco(Path("coco"), {"train2017": 1}, 32, seed=0)
    Path("coco/val2017").mkdir()
    settings = user_settings("coco")
    preflight.check_settings(resolved(settings))
    settings["tasks"]["mine"] |= {"kind": "segmentation", "classes": {"kite": ["kite"]}}
    message = "tasks.mine.splits.val: data set 'mine' has no annotated split 'val'; choose from train"
    refused(resolved(settings), message)


def test_splits_of_pairs_have_the_names_of_their_folders(resolved: Callable[..., Settings]) -> None:
    Path("pairs").mkdir()
    settings = user_settings("pairs", "paired")
    settings["tasks"]["mine"]["splits"] = {"train": "Training", "val": "validation"}
    preflight.check_settings(resolved(settings))
    settings["tasks"]["mine"]["splits"]["val"] = "vel"
    refused(resolved(settings), "tasks.mine.splits.val: data set 'mine' has no split 'vel'; did you mean 'val'?")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, None),
        ({"table": "lost.csv"}, "datasets.mine.table: data/lost.csv: no such file"),
        ({"columns": {"split": "slpit"}}, "datasets.mine.table: data/all.csv: "),
        (
            {"table": {"train": "all.csv", "vall": "all.csv"}, "columns": {}},
            "tasks.mine.splits.val: data set 'mine' has no split 'val'; did you mean 'vall'?",
        ),
    ],
)
def test_tables_columns_and_splits_of_a_table_are_checked(
    resolved: Callable[..., Settings], changed: Content, message: str | None
) -> None:
    Path("data").mkdir()
    Path("data/all.csv").write_text("picture,split\na.png,train\nb.png,val\n")
    settings = user_settings("data", "table")
    settings["datasets"]["mine"] |= {"table": "all.csv", "columns": {"split": "split"}} | changed
    if message is None:
        preflight.check_settings(resolved(settings))
    else:
        refused(resolved(settings), message)


def test_tables_of_generated_and_fetched_data_are_complete(tmp_path: Path) -> None:
    assert {*COCO_ARCHIVES, *VOC_ARCHIVES} <= {*DOWNLOADS}
    of_2017 = {name: group for group, names in SUPERCATEGORIES.items() for name in names}
    assert len(of_2017) == 80 and dict(coco.CATEGORIES.values()).items() <= of_2017.items()
    assert {f"{name}2017" for name in INDEX} == {*COCO_FIRST_ID}


@pytest.mark.parametrize(
    ("training", "cards", "message"),
    [
        ({"accelerator": "cuda"}, 0, "training.accelerator: this machine has no GPU for 'cuda'"),
        (
            {"accelerator": "cuda", "devices": 4},
            2,
            "training.devices: this machine has 2 of 4 GPUs; lower it to 2",
        ),
        ({"devices": 4}, 1, "training.devices: this machine has 1 of 4 GPUs; lower it to 1"),
        ({"accelerator": "cuda", "devices": 2}, 2, None),
        ({"devices": 4}, 0, None),
        ({"accelerator": "cpu", "devices": 4}, 1, None),
    ],
)
def test_missing_cards_are_refused(
    resolved: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    training: Content,
    cards: int,
    message: str | None,
) -> None:
    monkeypatch.setattr(preflight, "OTHER_CARDS", ())
    settings = resolved({"training": training})
    if message is None:
        preflight.check_devices(settings, cards)
    else:
        with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
            preflight.check_devices(settings, cards)
