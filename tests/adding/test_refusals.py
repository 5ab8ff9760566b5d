"""Wrong use of `add-task` is one line, and leaves the files of the user as they are."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from palimpsest import cli, translation
from palimpsest.data.generated import generate_voc
from palimpsest.errors import TrainingError
from tests.adding.helpers import FILE, LEARNING, NEW, add, pairs, pictures

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--kind", "paired"], 2, "name the pictures with --data, or with --input and --target"),
        (["--kind", "paired", "--input", "a"], 2, "name the pictures with --data, or with --input and --target"),
        (["--kind", "style", "--data", "a"], 2, "--painting: is needed for the kind style; name the picture"),
        (["--kind", "paired", "--data", "absent"], 1, "absent: no such folder; correct the path"),
        *[
            (
                ["--kind", kind, "--data", "a", option, "b"],
                2,
                f"{option}: is for tasks of the kind {kinds}, found {kind}",
            )
            for kind, option, kinds in (
                ("paired", "--classes", "segmentation and classification"),
                ("depth", "--annotations", "segmentation and classification"),
                ("colorization", "--input", "paired and depth"),
                ("segmentation", "--painting", "style"),
                ("paired", "--weights", "style"),
            )
        ],
        (["--kind", "segmentation", "--data", "a", "--classes", " ,"], 2, "--classes: ' ,' has no name"),
        (
            ["--kind", "segmentation", "--data", "a"],
            1,
            "a: no files in the layout of COCO or VOC, which have labels",
        ),
        (["--kind", "classification", "--data", "a"], 1, "a: no files in the layout of COCO or VOC"),
        (["--kind", "paired", "--data", "odd"], 1, "or name the folders with --input and --target; known layouts"),
        (
            ["--kind", "paired", "--data", "voc"],
            1,
            "voc: the layout voc has no targets of the type picture; name a folder in the layout paired",
        ),
        (
            ["--kind", "style", "--data", "a", "--painting", "a/00.png", "--weights", "other.pth"],
            1,
            "other.pth: not the weights of SqueezeNet 1.1 or VGG-16",
        ),
        (
            ["--kind", "style", "--data", "a", "--painting", "a/00.png"],
            1,
            "--weights: is missing, and the loss compares features of squeezenet; name the file",
        ),
        (
            ["--kind", "colorization", "--data", "a", "--method", "decoder"],
            1,
            f"{FILE}: has no task of the method decoder",
        ),
        (["--kind", "colorization", "--data", "empty"], 1, "empty: 0 pictures; a task needs at least two"),
    ],
)
def test_wrong_use_is_one_line(
    file: str, arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures("a")
    pairs("odd/hazy", "odd/clear", 2)
    Path("empty").mkdir()
    Path("voc/ImageSets/Segmentation").mkdir(parents=True)
    torch.save({"features.0.weight": torch.zeros(1)}, "other.pth")
    assert add(*arguments) == status
    error = capsys.readouterr().err
    assert message in error and error.count("error:") == 1 and not Path(NEW).exists()
    assert not Path(LEARNING).exists()


@pytest.mark.parametrize("name", ["my task", "a_b", "-a", "", "ä"])
def test_a_name_with_other_characters_is_wrong_use(
    file: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["add-task", FILE, f"--name={name}", "-o", NEW, "--kind", "colorization", "--data", "a"]) == 2
    assert f"--name: {name!r} is no name of a task; use letters, digits and hyphens" in capsys.readouterr().err


def test_a_name_is_used_once(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures("a")
    assert add("--kind", "colorization", "--data", "a", name="colour") == 1
    assert f"{FILE}: has a task 'colour' already; choose another name" in capsys.readouterr().err


def test_files_of_the_user_are_neither_removed_nor_replaced(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures("a")
    options = ["--kind", "colorization", "--data", "a", "--steps", "2"]
    Path(LEARNING).mkdir()
    Path(LEARNING, "diary.txt").write_text("mine", encoding="utf-8")
    for force in ([], ["--force"]):
        assert add(*options, *force) == 1
        assert f"{LEARNING}: is not a folder of this command" in capsys.readouterr().err
    assert Path(LEARNING, "diary.txt").read_text(encoding="utf-8") == "mine"
    shutil.rmtree(LEARNING)
    Path("more-new.png").write_text("mine", encoding="utf-8")
    assert add(*options) == 1
    assert "more-new.png: exists; name another file, or overwrite it with --force" in capsys.readouterr().err
    assert Path("more-new.png").read_text(encoding="utf-8") == "mine" and not Path(NEW).exists()
    Path(LEARNING).mkdir()  # empty: nothing to lose
    assert add(*options, "--force") == 0
    assert Image.open("more-new.png").size == (96, 64) and not Path(LEARNING).exists()


def test_a_class_without_a_training_pixel_is_refused_by_name(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    generate_voc(Path("voc"), {"train": 12, "val": 4}, 40, 0)
    options = ["--kind", "segmentation", "--data", "voc", "--steps", "2", "--classes"]
    assert add(*options, "sheep,cat,boat,dog") == 1
    error = capsys.readouterr().err
    assert "voc: no pixel of the training pictures has the class 'cat', 'dog'; add such pictures" in error
    assert "or learn the others with --classes sheep,boat" in error and not Path(LEARNING).exists()


def test_messages_name_files_of_the_user_and_no_settings(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    pairs("a", "b")
    Path("a/00.png").write_bytes(b"no picture")
    assert add("--kind", "paired", "--input", "a", "--target", "b") == 1
    error = capsys.readouterr().err
    assert "error: a and b: train from 'train': 1 of 22 pictures are broken" in error and " a/00.png: " in error
    assert "correct or remove them" in error and "broken_share" not in error and "learning" not in error
    assert not Path(LEARNING).exists()


def test_a_bundle_of_huge_pictures_takes_no_memory(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures("a")
    monkeypatch.setattr(translation, "free_memory", lambda: 0)
    assert cli.main(["evaluate", file, "--task", "colour", "--data", "a"]) == 1
    assert f"{file}: " in (line := capsys.readouterr().err) and "GiB are free; use " in line
    assert add("--kind", "colorization", "--data", "a", "--steps", "2") == 1
    assert f"{file}: " in (line := capsys.readouterr().err) and "GiB are free; use " in line
    assert not Path(NEW).exists()


def test_a_failed_training_names_an_option(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures("a")

    def fail(*arguments: Any) -> None:
        raise TrainingError("step 3: the loss is nan; lower training.learning_rate")

    monkeypatch.setattr("palimpsest.adding.train", fail)
    assert add("--kind", "colorization", "--data", "a") == 1
    assert "error: new: step 3: the loss is nan; take larger batches with --batch-size" in capsys.readouterr().err
    assert not Path(LEARNING).exists()
