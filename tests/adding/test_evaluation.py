"""`evaluate` measures a task of a bundle on pictures of the user."""

import json
from pathlib import Path

import pytest

from palimpsest import cli
from tests.adding.helpers import FILE, perceptual_weights, pictures

pytestmark = pytest.mark.slow


def test_a_style_is_measured_without_the_folder_of_its_study(
    style: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(*options: str) -> int:
        return cli.main(["evaluate", path, "--task", "painted", "--data", "../pictures", "--json", *options])

    path = str(Path(style).resolve())
    Path("elsewhere").mkdir()
    assert cli.main(["evaluate", path, "--task", "painted", "--data", "pictures", "--json"]) == 0
    beside = capsys.readouterr().out
    monkeypatch.chdir("elsewhere")
    assert measure() == 1
    assert "pictures/00.png: no such file; add it or correct the path; see --painting" in capsys.readouterr().err
    assert measure("--painting", "../pictures/00.png") == 0
    assert capsys.readouterr().out == beside
    assert measure("--painting", "../pictures/01.png") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] != json.loads(beside)["metrics"]
    assert measure("--painting", "../pictures/00.png", "--weights", perceptual_weights()) == 1
    assert "--weights: the loss of painted has random weights and reads no file" in capsys.readouterr().err


def test_plain_pictures_are_measured_whole(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures("a", 20)
    pictures("one", 1)
    for folder, number in (("a", 20), ("one", 1)):
        for options in ([], ["--format", "pictures"], ["--split", "train"]):
            assert cli.main(["evaluate", FILE, "--task", "colour", "--data", folder, *options]) == 0
            first, *_ = capsys.readouterr().out.splitlines()
            assert first == f"colour: {number} pictures (all, since the data have no splits)"
    pictures("split/val", 3)
    pictures("split/train", 5)
    for options, expected in (([], "3 pictures (split val)"), (["--split", "train"], "5 pictures (split train)")):
        assert cli.main(["evaluate", FILE, "--task", "colour", "--data", "split", *options]) == 0
        assert capsys.readouterr().out.splitlines()[0] == f"colour: {expected}"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--data", "a", "--format", "table"], 2, "--format: unknown value 'table'; choose from coco, voc, paired"),
        (["--data", "a", "--annotations", "b"], 2, "--annotations: is for tasks of the kind segmentation and"),
        (["--data", "a", "--painting", "b"], 2, "--painting: is for tasks of the kind style, found colorization"),
        (["--input", "a", "--target", "b"], 2, "--input: is for tasks of the kind paired and depth, found"),
        (["--data", "a", "--format", "voc", "--annotations", "b"], 2, "--annotations: is for the format coco"),
        ([], 2, "name the pictures with --data, or with --input and --target"),
        (
            ["--data", "a", "--split", "test"],
            1,
            "a: no folder 'test'; add one with pictures",
        ),
        (["--data", "a", "--format", "coco", "--split", "x"], 1, "a: unknown split 'x' in --split; choose from"),
        (["--data", "a", "--format", "paired", "--split", "x"], 1, "a: unknown split 'x' in --split; choose from"),
    ],
)
def test_wrong_use_of_evaluate_is_one_line(
    file: str, options: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures("a", 2)
    assert cli.main(["evaluate", FILE, "--task", "colour", *options]) == status
    error = capsys.readouterr().err
    assert message in error and error.count("error:") == 1
