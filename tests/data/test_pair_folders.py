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
    folders_of_pairs = find_pair_folders(make(tmp_path, *train, *val, "notes"))
    assert folders_of_pairs.undivided is None
    assert folders_of_pairs.splits == {
        "train": SplitFolders(tmp_path / train[0], tmp_path / train[1]),
        "val": SplitFolders(tmp_path / val[0], tmp_path / val[1]),
    }


@pytest.mark.parametrize("names", ["input target", "inputs targets", "Input Target", "A B", "x Y", "lq gt"])
def test_layouts_without_splits(tmp_path: Path, names: str) -> None:
    inputs, targets = names.split()
    folders_of_pairs = find_pair_folders(make(tmp_path, inputs, targets, "docs"))
    assert folders_of_pairs.splits == {} and folders_of_pairs.undivided == SplitFolders(
        tmp_path / inputs, tmp_path / targets
    )


def test_side_by_side_files_are_in_the_folder_or_in_folders_of_splits(tmp_path: Path) -> None:
    assert find_pair_folders(tmp_path).undivided == SplitFolders(joint=tmp_path)
    make(tmp_path, "Train/shoes", "val/images", "test")  # `images` alone has no special meaning
    folders_of_pairs = find_pair_folders(tmp_path)
    assert folders_of_pairs.splits == {
        "train": SplitFolders(joint=tmp_path / "Train"),
        "val": SplitFolders(joint=tmp_path / "val"),
        "test": SplitFolders(joint=tmp_path / "test"),
    }


def test_a_folder_of_a_class_named_train_is_no_split(tmp_path: Path) -> None:
    make(tmp_path, "input/train", "input/dog", "target/train", "target/dog")
    assert find_pair_folders(tmp_path).undivided == SplitFolders(tmp_path / "input", tmp_path / "target")


def test_every_file_has_both_halves_with_the_setting(tmp_path: Path) -> None:
    make(tmp_path, "train/A", "train/B", "val", "input", "target")
    folders_of_pairs = find_pair_folders(tmp_path, joint_only=True)
    assert folders_of_pairs.splits == {
        "train": SplitFolders(joint=tmp_path / "train"),
        "val": SplitFolders(joint=tmp_path / "val"),
    }


@pytest.mark.parametrize(
    ("folders", "message"),
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
def test_mixed_and_incomplete_layouts_are_refused_with_the_known_ones(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as error:
        find_pair_folders(make(tmp_path, *folders))
    assert "known layouts are train/input and train/target, input/train" in str(error.value)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("trainA", "trainB", "train/A", "train/B"), "(train/A, train/B, trainA, trainB)"),
        (("val", "valid"), "(val, valid)"),
        (("trainA", "valB", "valA"), "trainA: has no folder of targets beside it"),
        (("A/train", "B/val"), "A/train: has no folder of targets beside it"),
    ],
)
def test_a_fault_of_a_split_is_reported_when_the_split_is_used(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    errors = [str(split_folders) for split_folders in find_pair_folders(make(tmp_path, *folders)).splits.values()]
    assert any(message in error for error in errors), errors


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
def test_of_several_folders_of_a_role_the_clear_one_is_used(
    tmp_path: Path, folders: tuple[str, ...], split: str | None
) -> None:
    folders_of_pairs = find_pair_folders(make(tmp_path, *folders))
    split_folders = folders_of_pairs.splits[split] if split else folders_of_pairs.undivided
    assert split_folders == SplitFolders(tmp_path / folders[0], tmp_path / folders[1])
    assert folders_of_pairs.notes == (f"{folders[2]}: ignored, since {folders[0]} and {folders[1]} is used",)


def test_a_split_beside_other_folders_is_logged(tmp_path: Path) -> None:
    folders_of_pairs = find_pair_folders(make(tmp_path, "A/test", "A/extra", "B/test", "B/extra"))
    assert folders_of_pairs.undivided == SplitFolders(tmp_path / "A", tmp_path / "B")
    assert folders_of_pairs.notes[0] == "A: test is not used as a split, since it is the only one"


def test_a_numbered_split_of_a_single_role_is_refused(tmp_path: Path) -> None:
    make(tmp_path, *(f"images/{split}2017" for split in ("train", "val", "test")))
    folders_of_pairs = find_pair_folders(make(tmp_path, "labels/train2017", "labels/val2017"))
    assert "images/test2017: has no folder of targets beside it" in str(folders_of_pairs.splits["test"])
