"""`bundle`, and the subcommands on its file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from palimpsest import cli
from tests.cli.conftest import only_line, picture


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Write a bundle of the study and return its name, alone in an empty folder."""
    assert cli.main(["bundle", "--preset", "tiny", "-o", "tasks.safetensors"]) == 0
    assert capsys.readouterr().out.startswith("tasks.safetensors: 3 tasks, 0.1")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.move("tasks.safetensors", alone)
    monkeypatch.chdir(alone)
    return "tasks.safetensors"


@pytest.mark.parametrize("task", ["classes", "colour", "painted"])
def test_a_bundle_translates_as_its_study(file: str, task: str) -> None:
    name = picture("one.png", 50, 40)
    assert cli.main(["translate", file, name, "--task", task, "-o", "out"]) == 0
    shutil.copy(name, "..")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("..")
        assert cli.main(["translate", "--preset", "tiny", name, "--task", task, "-o", "alone/study"]) == 0
    of_bundle, of_study = (np.asarray(Image.open(f"{folder}/one-{task}.png")) for folder in ("out", "study"))
    assert np.array_equal(of_bundle, of_study)


def test_wrong_use_of_a_bundle_is_one_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = picture("one.png", 20, 20)
    for arguments, status, message in (
        ([file, name, "--task", "color"], 2, "--task: unknown value 'color'; did you mean 'colour'?"),
        ([file, "--task", "colour"], 2, "no picture given; name a bundle, then pictures, or a study with --preset"),
        ([name, name, "--task", "colour"], 1, "one.png: no complete safetensors file"),
        (["absent.safetensors", name, "--task", "colour"], 1, "absent.safetensors: is missing; name a bundle"),
    ):
        assert cli.main(["translate", *arguments, "-o", "out"]) == status
        assert only_line(capsys).startswith(f"error: {message}")
    assert not Path("out").exists()


def test_inspect_prints_the_content_of_a_bundle(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", file]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert cli.main(["inspect", "--json", file]) == 0
    assert json.loads(capsys.readouterr().out) == [printed]
    assert list(printed["tasks"]) == ["classes", "colour", "painted"]
    assert printed["tasks"]["classes"]["classes"] == ["background", "cat", "dog"]
    assert printed["bytes"] == Path(file).stat().st_size
    assert printed["ones"].keys() == {"colour", "painted"}
    assert printed["parts"]["tasks/colour"]["bytes"] == sum(printed["tasks"]["colour"]["components"].values())


def test_a_bundle_is_written_only_where_it_may(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bundle", "--preset", "tiny", "-o"]
    Path("old.safetensors").write_bytes(b"precious")
    for arguments, status, message in (
        (
            [*command, "old.safetensors"],
            1,
            "old.safetensors: exists; name another file, or overwrite it with --force",
        ),
        ([*command, "tasks.zip"], 2, "--output: tasks.zip does not end with .safetensors; add the suffix"),
        (
            [*command, "a.safetensors", "--tasks", "colour,pained"],
            2,
            "--tasks: unknown value 'pained'; did you mean",
        ),
        (
            [*command, "a.safetensors", "--preset", "other"],
            1,
            "models/other/seed-4/piggyback/painted.safetensors: not",
        ),
    ):
        assert cli.main(arguments) == status
        assert only_line(capsys).startswith(f"error: {message}")
    assert Path("old.safetensors").read_bytes() == b"precious" and not Path("a.safetensors").exists()
    assert cli.main([*command, "old.safetensors", "--force", "--tasks", "colour", "--dtype", "float16"]) == 0
    assert list(yaml.safe_load(inspected("old.safetensors", capsys))["tasks"]) == ["colour"]


def inspected(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(["inspect", name]) == 0
    return capsys.readouterr().out
