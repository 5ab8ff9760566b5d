"""Stored tasks that the command line loads or refuses."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

import palimpsest
from palimpsest import cli
from palimpsest.jobs import training_job
from palimpsest.methods import BASE
from palimpsest.params import read, resolve
from palimpsest.storage.task_file import Provenance, load_task, save_task
from tests.cli.conftest import only_line, picture, settings_path


@pytest.mark.parametrize(
    ("arguments", "path", "command"),
    [
        ([], "models/other/seed-4/piggyback/colour.safetensors", "--config preset=other"),
        (["--seed", "7"], "models/other/seed-7/piggyback/colour.safetensors", "--config preset=other 'seeds=[7]'"),
        (
            ["--method", "scratch"],
            "models/other/seed-4/scratch/colour.safetensors",
            "--config preset=other 'methods=[scratch]'",
        ),
    ],
)
def test_an_untrained_task_gives_the_command_that_trains_it(
    arguments: list[str], path: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line = ["translate", "--preset", "other", "--task", "colour", *arguments, "one.png", "-o", "out"]
    assert cli.main(command_line) == 1
    message = f"error: {path}: not trained yet; make it with: snakemake --cores all {path} {command}"
    assert only_line(capsys) == message
    assert not Path("out").exists()


def test_a_missing_base_network_is_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("models").unlink()
    Path("models/tiny/seed-4").mkdir(parents=True)
    Path("models/tiny/seed-4/piggyback").symlink_to(study / "models/tiny/seed-4/piggyback")
    assert (
        cli.main(["translate", "--preset", "tiny", "--task", "colour", picture("one.png", 32, 32), "-o", "out"])
        == 1
    )
    assert only_line(capsys).startswith("error: models/tiny/seed-4/base/classes.safetensors: not trained yet")


COLOUR, CLASSES = (
    Path("models/tiny/seed-4", *parts)
    for parts in (("piggyback", "colour.safetensors"), ("base", "classes.safetensors"))
)


def retrain_base() -> None:
    """Replace the base network of the masks."""
    base = load_task(CLASSES)
    moved = [replace(c, tensors={name: t + 1 for name, t in c.tensors.items()}) for c in base.components]
    save_task(CLASSES, moved, base.provenance)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-9], "not a complete safetensors file"),
        (
            lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            "the tensors were altered: ",
        ),
        (
            lambda content: safetensors.torch.save({"x": torch.zeros(1)}),
            "expected format 'palimpsest task 5', found None",
        ),
        (lambda content: (2**60).to_bytes(8, "little") + content[8:], "not a complete safetensors file"),
        (lambda content: retrain_base() or content, r"expected the base network \w+…, found \w+… in .*classes"),
    ],
    ids=["truncated", "one byte flipped", "foreign header", "header of 2^60 bytes", "another base"],
)
def test_an_unusable_stored_task_gives_one_line_and_stays_unchanged(
    study: Path, damage: Callable[[bytes], bytes], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("models").unlink()
    shutil.copytree(study / "models", "models")
    COLOUR.write_bytes(damage(COLOUR.read_bytes()))
    before = {path: path.read_bytes() for path in Path("models").rglob("*.safetensors")}
    assert (
        cli.main(["translate", "--preset", "tiny", "--task", "colour", picture("one.png", 32, 32), "-o", "out"])
        == 1
    )
    line = only_line(capsys)
    assert re.search(
        rf"{COLOUR}: {message}.*; restore it with `dvc pull`, or delete it: the next `snakemake", line
    ), line
    assert {path: path.read_bytes() for path in Path("models").rglob("*.safetensors")} == before
    assert not Path("out").exists()


def test_a_task_runs_with_the_settings_of_its_training() -> None:
    name = picture("one.png", 100, 80)
    assert cli.main(["translate", "--preset", "tiny", "--task", "classes", name, "-o", "before"]) == 0
    edited = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    edited["defaults"]["network"]["width"] = 3
    edited["defaults"]["pictures"]["size"] = 64
    edited["defaults"]["tasks"]["classes"]["classes"]["cow"] = ["cow"]
    Path("params.yaml").unlink()
    Path("params.yaml").write_text(yaml.safe_dump(edited), encoding="utf-8")
    assert cli.main(["translate", "--preset", "tiny", "--task", "classes", name, "-o", "after"]) == 0
    assert Path("after/one-classes.png").read_bytes() == Path("before/one-classes.png").read_bytes()


def test_training_settings_may_be_of_another_version(study: Path) -> None:
    path = study / "models/tiny/seed-4/base/classes.safetensors"
    file = load_task(path)
    old = {**file.provenance.settings, "optimiser": "sgd"}
    old["training"] = {**old["training"], "colour_space": "srgb"}
    Path("models").unlink()
    save_task(
        Path("models/tiny/seed-4/base/classes.safetensors"), file.components, replace(file.provenance, settings=old)
    )
    assert (
        cli.main(["translate", "--preset", "tiny", "--task", "classes", picture("one.png", 32, 32), "-o", "out"])
        == 0
    )


def test_settings_of_another_version_give_a_training_command(capsys: pytest.CaptureFixture[str]) -> None:
    settings = resolve(read(Path("params.yaml")), {"preset": "other"})
    old = training_job(settings, 4, BASE, "classes").model_dump(mode="json")
    old["tasks"][0]["settings"]["colour_space"] = "srgb"
    path = settings_path(settings, BASE, "classes")
    save_task(path, [], Provenance("other", 4, BASE, "classes", old, None))
    try:
        assert cli.main(["translate", "--preset", "other", "--task", "classes", "one.png", "-o", "out"]) == 1
    finally:
        path.unlink()
    line = only_line(capsys)
    assert "stored with settings of another version (tasks.0.settings.colour_space: " in line
    assert "; restore it with `dvc pull`, or delete it" in line


def test_a_task_is_added_to_the_stored_tasks_of_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        picture(f"a/{number}.png", 40, 40 + number)
    added = ["--name", "new", "--kind", "colorization", "--data", "a", "--steps", "1", "--batch-size", "1"]
    assert cli.main(["add-task", "--preset", "tiny", *added, "-o", "new.safetensors"]) == 0
    bundle = palimpsest.open("new.safetensors")
    assert bundle.tasks == ["classes", "colour", "painted", "new"] and bundle.entry("new").method == "piggyback"
    assert cli.main(["add-task", *added, "-o", "other.safetensors"]) == 2
    assert "name a bundle, or a study with --preset" in capsys.readouterr().err
    assert cli.main(["add-task", "new.safetensors", *added, "--seed", "4", "-o", "other.safetensors"]) == 2
    assert "--seed: is for the tasks of a study" in capsys.readouterr().err
