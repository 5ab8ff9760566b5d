import re
from pathlib import Path

import pytest

from palimpsest.data.pair_folders import SplitFolders, find_pair_folders, split_and_role
from palimpsest.errors import DataError


def make(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (("train/input", "train/target"), ("val/input", "val/target")),
        (("train/Input", "train/Target"), ("val/Input", "val/Target")),
        (("train/inputs", "train/targets"), ("val/inputs", "val/targets")),
        (("train/A", "train/B"), ("val/A", "val/B")),
        (("training/images", "training/labels"), ("validation/images", "validation/labels")),
        (("train/source", "train/ground_truth"), ("valid/source", "valid/ground_truth")),
        (("A/train", "B/train"), ("A/val", "B/val")),
        (("input/train", "target/train"), ("input/valid", "target/valid")),
        (("trainA", "trainB"), ("valA", "valB")),
        (("train_A", "train_B"), ("val_A", "val_B")),
        (("train-input", "train-target"), ("val-input", "val-target")),
        (("TrainInput", "TrainTarget"), ("ValInput", "ValTarget")),
        (("input_train", "target_train"), ("input_val", "target_val")),
        (("train_images", "train_masks"), ("val_images", "val_masks")),
    ],
)
def test_layouts_with_splits(tmp_path: Path, train: tuple[str, str], val: tuple[str, str]) -> None:
    found = find_pair_folders(make(tmp_path, *train, *val, "notes"))
    assert found.undivided is None
    assert found.splits == {
        "train": SplitFolders(tmp_path / train[0], tmp_path / train[1]),
        "val": SplitFolders(tmp_path / val[0], tmp_path / val[1]),
    }


@pytest.mark.parametrize("names", ["input target", "inputs targets", "Input Target", "A B", "x Y", "lq gt"])
def test_layouts_without_splits(tmp_path: Path, names: str) -> None:
    inputs, targets = names.split()
    found = find_pair_folders(make(tmp_path, inputs, targets, "docs"))
    assert found.splits == {} and found.undivided == SplitFolders(tmp_path / inputs, tmp_path / targets)


def test_files_with_both_halves_lie_in_the_folder_or_in_those_of_splits(tmp_path: Path) -> None:
    assert find_pair_folders(tmp_path).undivided == SplitFolders(joint=tmp_path)
    make(tmp_path, "Train/shoes", "val/images", "test")  # `images` alone is a name as any other
    found = find_pair_folders(tmp_path)
    assert found.splits == {
        "train": SplitFolders(joint=tmp_path / "Train"),
        "val": SplitFolders(joint=tmp_path / "val"),
        "test": SplitFolders(joint=tmp_path / "test"),
    }


def test_a_folder_of_a_class_named_train_is_no_split(tmp_path: Path) -> None:
    make(tmp_path, "input/train", "input/dog", "target/train", "target/dog")
    assert find_pair_folders(tmp_path).undivided == SplitFolders(tmp_path / "input", tmp_path / "target")


def test_every_file_holds_both_halves_where_the_setting_says_so(tmp_path: Path) -> None:
    make(tmp_path, "train/A", "train/B", "val", "input", "target")
    found = find_pair_folders(tmp_path, joint_only=True)
    assert found.splits == {
        "train": SplitFolders(joint=tmp_path / "train"),
        "val": SplitFolders(joint=tmp_path / "val"),
    }


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (
            ("train/input", "train/target", "input", "target"),
            "several layouts of pairs (input, target, ",
        ),
        (
            ("trainA", "trainB", "input", "target"),
            "several layouts of pairs (input, target, trainA, ",
        ),
        (("input", "inputs", "target"), "several layouts of pairs (input, inputs, target)"),
        (("input",), "input: has no folder of targets beside it; add one of the same form, as B for A or target"),
        (("Targets",), "Targets: has no folder of inputs beside it; add one of the same form, as A for B or input"),
    ],
)
def test_mixed_and_half_layouts_are_refused_with_the_layouts_known(
    tmp_path: Path, folders: tuple[str, ...], told: str
) -> None:
    with pytest.raises(DataError, match=re.escape(told)) as error:
        find_pair_folders(make(tmp_path, *folders))
    assert "known layouts are train/input and train/target, input/train" in str(error.value)


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("trainA", "trainB", "train/A", "train/B"), "(train/A, train/B, trainA, trainB)"),
        (("val", "valid"), "(val, valid)"),
        (("trainA", "valB", "valA"), "trainA: has no folder of targets beside it"),
        (("A/train", "B/val"), "A/train: has no folder of targets beside it"),
    ],
)
def test_what_is_wrong_with_one_split_is_told_where_it_is_asked_for(
    tmp_path: Path, folders: tuple[str, ...], told: str
) -> None:
    errors = [str(place) for place in find_pair_folders(make(tmp_path, *folders)).splits.values()]
    assert any(told in error for error in errors), errors


def test_targets_that_are_a_link_to_the_inputs_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "input")
    (tmp_path / "target").symlink_to("input")
    with pytest.raises(DataError, match="target: is a link to the folder input; replace it by a folder of target "):
        find_pair_folders(tmp_path)


@pytest.mark.parametrize(
    ("name", "split", "role"),
    [
        ("trainA", "train", "input"),
        ("b", None, "target"),
        ("Valid", "val", None),
        ("training", "train", None),
        ("traina4", None, None),
        ("trains", None, None),
        ("alphabet", None, None),
        ("B_test", "test", "target"),
    ],
)
def test_names_of_folders(name: str, split: str | None, role: str | None) -> None:
    assert split_and_role(name) == (split, role)


@pytest.mark.parametrize(
    ("folders", "split"),
    [
        (("train/input", "train/target", "train/mask"), "train"),
        (("train_input", "train_target", "train_mask"), "train"),
        (("input/train", "target/train", "mask/train"), "train"),
        (("input", "target", "mask"), None),
    ],
)
def test_of_several_folders_of_a_role_the_clear_one_counts(
    tmp_path: Path, folders: tuple[str, ...], split: str | None
) -> None:
    found = find_pair_folders(make(tmp_path, *folders))
    place = found.splits[split] if split else found.undivided
    assert place == SplitFolders(tmp_path / folders[0], tmp_path / folders[1])
    assert found.notes == (f"{folders[2]}: ignored, since {folders[0]} and {folders[1]} is used",)


def test_one_split_beside_other_folders_is_noted(tmp_path: Path) -> None:
    found = find_pair_folders(make(tmp_path, "A/test", "A/extra", "B/test", "B/extra"))
    assert found.undivided == SplitFolders(tmp_path / "A", tmp_path / "B")
    assert found.notes[0] == "A: test is not used as a split, since it is the only one"


def test_a_numbered_split_of_one_role_alone_is_refused(tmp_path: Path) -> None:
    make(tmp_path, *(f"images/{split}2017" for split in ("train", "val", "test")))
    found = find_pair_folders(make(tmp_path, "labels/train2017", "labels/val2017"))
    assert "images/test2017: has no folder of targets beside it" in str(found.splits["test"])
