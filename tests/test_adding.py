"""A task that is added to a bundle is learned, and leaves the old ones as they are."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import palimpsest
from palimpsest import cli
from palimpsest.bundling import bundle_study
from palimpsest.data.generated import generate_voc
from tests.conftest import ROOT, Study

pytestmark = pytest.mark.slow

FILE, NEW = "tasks.safetensors", "more.safetensors"


@pytest.fixture
def file(new_study: Callable[..., Study]) -> str:
    """Write a bundle with a masked task and a colorization to the working directory; return its name."""
    study = new_study(network={"width": 4}, training={"steps": 60, "steps_per_epoch": 20, "learning_rate": 0.02})
    for task in ("halves", "colour"):
        study.store_untrained("piggyback", task)
    bundle_study(study.settings, 0, "piggyback").save(Path(FILE))
    return FILE


def pictures(folder: str, number: int = 24, side: int = 40) -> list[Path]:
    """Write pictures of a bright square on a dark ground, and return their paths."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (top, left) in enumerate(np.random.default_rng(0).integers(2, side - 18, (number, 2))):
        pixels = np.full((side, side, 3), 30, np.uint8)
        pixels[top : top + 16, left : left + 16] = (220, 60 + 5 * index, 40)
        paths.append(Path(folder, f"{index:02}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


def pairs(inputs: str, targets: str) -> None:
    """Write pairs: a picture, and its negative as the target."""
    Path(targets).mkdir(parents=True)
    for path in pictures(inputs):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(Path(targets, path.name))


def add(*arguments: str, name: str = "new") -> int:
    return cli.main(["add-task", FILE, "--name", name, "-o", NEW, *arguments])


def outputs(path: str) -> dict[str, torch.Tensor]:
    bundle = palimpsest.open(path)
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return {name: bundle.network(name)(noise) for name in bundle.tasks}


def test_a_pair_task_is_learned_and_the_old_ones_stay(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    pairs("a", "b")
    before, bytes_before = outputs(file), Path(file).read_bytes()
    assert add("--kind", "paired", "--input", "a", "--target", "b") == 0
    printed = capsys.readouterr().out
    assert (
        "the outputs of the 3 old tasks are bit-identical" in printed
        and "new: pictures held out for validation: 1" in printed
    )
    after = outputs(NEW)
    assert list(after) == [*before, "new"] and all(torch.equal(after[name], before[name]) for name in before)
    assert Path(file).read_bytes() == bytes_before and not Path("more.learning").exists()
    bundle = palimpsest.open(NEW)
    entry = bundle.entry("new")
    assert entry.components.keys() == {"mask", "batchnorm", "head"} and entry.quality is not None
    picture = np.asarray(Image.open("a/00.png"))
    learned, old = (np.asarray(bundle.translate(task, "a/00.png").convert("RGB")) for task in ("new", "colour"))
    truth = 255 - picture.astype(int)
    assert np.abs(learned - truth).mean() < 0.7 * np.abs(picture - truth).mean() < np.abs(old - truth).mean() * 2
    assert Image.open("more-new.png").size == (96, 32)  # input, target and output
    assert (cli.main(["evaluate", NEW, "--task", "new", "--data", "joined", "--json"]), capsys.readouterr())[0] == 1
    shutil.copytree("a", "joined/input")
    shutil.copytree("b", "joined/target")
    assert cli.main(["evaluate", NEW, "--task", "new", "--data", "joined", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == entry.quality.metrics


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("colorization", []),
        ("style", ["--painting", "pictures/00.png"]),
    ],
)
def test_tasks_without_targets_need_only_pictures(file: str, kind: str, options: list[str]) -> None:
    pictures("pictures")
    weights = [] if kind == "colorization" else ["--weights", perceptual_weights()]
    assert add("--kind", kind, "--data", "pictures", *options, *weights, "--steps", "4") == 0
    assert palimpsest.open(NEW).translate("new", "pictures/01.png").size == (40, 40)


def perceptual_weights() -> str:
    """Write random weights of SqueezeNet, and return the path."""
    from torchvision.models import squeezenet1_1  # noqa: PLC0415

    torch.save(squeezenet1_1().state_dict(), "squeezenet.pth")
    return "squeezenet.pth"


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_labels_are_learned_from_a_folder_of_voc(file: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    generate_voc(Path("voc"), {"train": 12, "val": 4}, 40, 0)
    options = ["--kind", kind, "--data", "voc", "--steps", "4"]
    assert add(*options, "--classes", "sheep, boat") == 0
    bundle = palimpsest.open(NEW)
    assert (bundle.entry("new").kind, bundle.entry("new").classes) == (kind, ["background", "sheep", "boat"])
    labels = np.asarray(bundle.translate("new", next(Path("voc").rglob("*.jpg"))))
    assert labels.max() <= 2 and (kind == "segmentation" or len(np.unique(labels)) == 1)
    assert "new: pictures held out for validation: 4" in capsys.readouterr().out
    assert add(*options, "--classes", "ship", "--force") == 1
    assert "unknown category 'ship'" in capsys.readouterr().err


def test_annotations_of_coco_are_read_from_one_file(file: str) -> None:
    from palimpsest.data.generated import generate_coco  # noqa: PLC0415

    generate_coco(Path("coco"), {"train2017": 12, "val2017": 1}, 40, 0)
    Path("coco/annotations/instances_train2017.json").rename("labels.json")
    options = ["--kind", "segmentation", "--data", "coco/train2017", "--annotations", "labels.json", "--steps", "4"]
    assert add(*options, "--classes", "kite,donut") == 0
    assert palimpsest.open(NEW).entry("new").classes == ["background", "kite", "donut"]


def test_an_interrupted_training_goes_on_and_ends_with_the_same_file(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs("a", "b")
    options = ["--kind", "paired", "--input", "a", "--target", "b"]
    assert add(*options) == 0
    whole = Path(NEW).read_bytes()
    Path(NEW).unlink()
    steps: list[float] = []

    def interrupt(self: Any, history: Any) -> None:
        steps.append(history[-1]["step"])
        if steps == [20, 40]:
            raise KeyboardInterrupt

    monkeypatch.setattr("palimpsest.cli.add_task.ProgressPrinter.__call__", interrupt)
    assert add(*options) == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err and not Path(NEW).exists()
    assert add(*options) == 0
    assert steps == [20, 40, 40, 60] and Path(NEW).read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--kind", "paired"], 2, "name the pictures with --data, or with --input and --target"),
        (["--kind", "paired", "--input", "a"], 2, "name the pictures with --data, or with --input and --target"),
        (["--kind", "style", "--data", "a"], 2, "--painting: is needed for the kind style, and for no other"),
        (["--kind", "paired", "--data", "absent"], 1, "absent: no such file or folder; correct the path"),
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
    Path("empty").mkdir()
    assert add(*arguments) == status
    error = capsys.readouterr().err
    assert message in error and error.count("error:") == 1 and not Path(NEW).exists()


def test_a_name_is_used_once(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures("a")
    assert add("--kind", "colorization", "--data", "a", name="colour") == 1
    assert f"{FILE}: has a task 'colour' already; choose another name" in capsys.readouterr().err


def test_the_walk_through_learns_the_negative(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/own-task.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, {})
    first, *later = [
        line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    assert cli.main(shlex.split(first)[1:]) == 0
    printed = capsys.readouterr().out
    assert "more-negative.png" in printed and "old tasks are bit-identical" in printed
    for command in later:
        assert cli.main(shlex.split(command)[1:]) == 0
    picture, truth, output = (
        np.asarray(Image.open(name)).astype(int)
        for name in ("pairs/input/00.png", "pairs/target/00.png", "out/00-negative.png")
    )
    assert np.abs(output - truth).mean() < 0.7 * np.abs(picture - truth).mean()
