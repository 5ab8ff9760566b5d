"""`bundle`, and the subcommands on its file."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
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


def composed(*arguments: str, tasks: str = "colour,painted", folder: str = "out") -> int:
    return cli.main(["compose", "tasks.safetensors", "one.png", "--tasks", tasks, "-o", folder, *arguments])


def pixels(name: str) -> NDArray[Any]:
    with Image.open(name) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def test_two_stages_are_two_translations(file: str) -> None:
    picture("one.png", 50, 40)
    assert composed("--how", "two-stage") == 0
    assert cli.main(["translate", file, "one.png", "--task", "colour", "-o", "steps"]) == 0
    assert cli.main(["translate", file, "steps/one-colour.png", "--task", "painted", "-o", "steps"]) == 0
    assert np.array_equal(pixels("out/one-colour-painted-two-stage.png"), pixels("steps/one-colour-painted.png"))


def test_a_blend_has_the_share_of_the_first_task_and_the_pictures(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture("one.png", 50, 40)
    blended: list[Any] = []

    def blend(first: Any, second: Any, alpha: float, pictures: Any) -> Any:
        sizes = [tuple(batch["picture"].shape) for batch in pictures]
        blended.append((first.task.name, second.task.name, alpha, sizes))
        return second

    monkeypatch.setattr("palimpsest.composing.blend", blend)
    assert composed("--how", "blend", "--alpha", "0.25") == 0
    assert blended == [("colour", "painted", 0.25, [(1, 3, 32, 48)])]
    assert cli.main(["translate", file, "one.png", "--task", "painted", "-o", "out"]) == 0
    assert np.array_equal(pixels("out/one-colour-painted-blend-0.25.png"), pixels("out/one-painted.png"))


def test_wrong_compositions_are_one_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    picture("one.png", 20, 20)
    for arguments, tasks, status, message in (
        (["--how", "sequential"], "colour,painted", 1, "colour: was learned by piggyback, and sequential needs"),
        (
            ["--how", "blend"],
            "classes,painted",
            1,
            "classes: was learned by base, and blend needs tasks of piggyback",
        ),
        (["--how", "two-stage"], "colour", 2, "--tasks: expected two names, found 'colour'; write them as"),
        (["--how", "two-stage"], "colour,pained", 2, "--tasks: unknown value 'pained'; did you mean 'painted'?"),
        (
            ["--how", "two-stage", "--alpha", "0.3"],
            "colour,painted",
            2,
            "--alpha: is a share of a blend; remove it for",
        ),
        (["--how", "twice"], "colour,painted", 2, "invalid value for '--how'"),
    ):
        assert composed(*arguments, tasks=tasks) == status
        assert only_line(capsys).startswith(f"error: {message}")
    assert not Path("out").exists()


def test_ways_to_compose_do_not_overwrite_each_other(file: str) -> None:
    picture("one.png", 20, 20)
    ways = (["--how", "two-stage"], ["--how", "blend"], ["--how", "blend", "--alpha", "0.25"])
    assert [composed(*way, tasks="painted,painted") for way in ways] == [0, 0, 0]
    names = {path.name for path in Path("out").iterdir()}
    assert names == {f"one-painted-painted-{way}.png" for way in ("two-stage", "blend-0.5", "blend-0.25")}


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["translate", "FILE", "one.png", "--task", "colour", "-o", "out", "--method", "scratch"], "--method"),
        (["translate", "--seed", "4", "FILE", "one.png", "--task", "colour", "-o", "out"], "--seed"),
        (["translate", "--method", "piggyback", "FILE", "one.png", "--task", "colour", "-o", "out"], "--method"),
        (
            ["compose", "FILE", "one.png", "--tasks", "a,b", "--how", "blend", "-o", "out", "--seed", "0"],
            "--seed",
        ),
        (["evaluate", "FILE", "--task", "colour", "--data", ".", "--seed", "0"], "--seed"),
        (["export", "FILE", "--task", "colour", "--onnx", "a.onnx", "--method", "scratch"], "--method"),
        (["inspect", "FILE", "--method", "scratch"], "--method"),
    ],
)
def test_options_of_a_study_are_refused_for_a_bundle(
    arguments: list[str], option: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    picture("one.png", 20, 20)
    assert cli.main([file if argument == "FILE" else argument for argument in arguments]) == 2
    assert only_line(capsys) == f"error: {option}: is for the tasks of a study; remove it, or add --preset"
    assert not Path("out").exists()


def test_a_bundle_and_a_study_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "a.safetensors", "--preset", "tiny", "--task", "colour", "--onnx", "a.onnx"]
    assert cli.main(command) == 2
    message = "error: name either the bundle a.safetensors or a study with --preset, not both"
    assert only_line(capsys) == message


def test_inspect_prints_the_stored_tasks_of_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bundle", "--preset", "tiny", "-o", "tasks.safetensors", "--seed", "4"]) == 0
    of_bundle = yaml.safe_load(inspected("tasks.safetensors", capsys))
    assert cli.main(["inspect", "--method", "piggyback", "--preset", "tiny", "--seed", "4", "--json"]) == 0
    (of_study,) = json.loads(capsys.readouterr().out)
    assert (of_study.pop("preset"), of_study.pop("method")) == ("tiny", "piggyback")
    size = sum(part["bytes"] for part in of_bundle["parts"].values())
    assert (of_study.pop("bytes"), of_bundle.pop("bytes")) == (size, Path(of_bundle.pop("file")).stat().st_size)
    assert of_study == of_bundle
    for arguments in (["inspect"], ["inspect", "a.safetensors", "--preset", "tiny"]):
        assert cli.main(arguments) == 2
        assert only_line(capsys) == "error: name either files or a study with --preset"
    assert cli.main(["inspect", "--preset", "tny"]) == 2
    assert only_line(capsys) == "error: --preset: unknown value 'tny'; did you mean 'tiny'?"
