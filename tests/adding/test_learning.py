"""A task that is added to a bundle is learned, and leaves the old ones as they are."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import palimpsest
from palimpsest import cli
from palimpsest.data.generated import generate_voc
from tests.adding.helpers import FILE, LEARNING, NEW, add, pairs, perceptual_weights, pictures
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


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
        and "new: pictures held out for validation: 2" in printed
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
    assert Image.open("more-new.png").size == (96, 64)  # input, target and output
    assert (cli.main(["evaluate", NEW, "--task", "new", "--data", "joined", "--json"]), capsys.readouterr())[0] == 1
    shutil.copytree("a", "joined/input")
    shutil.copytree("b", "joined/target")
    for options in (["--data", "joined"], ["--input", "a", "--target", "b"]):
        assert cli.main(["evaluate", NEW, "--task", "new", *options, "--json"]) == 0
        printed_again = json.loads(capsys.readouterr().out)
        assert (printed_again["metrics"], printed_again["split"]) == (entry.quality.metrics, "val")


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


def test_depth_is_learned_from_numbers(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("far").mkdir()
    for path in pictures("a"):
        bright = np.asarray(Image.open(path).convert("L")).astype(np.float32)
        np.save(Path("far", path.stem), 1000 + 10 * bright)
    options = ["--kind", "depth", "--input", "a", "--target", "far", "--steps", "2"]
    assert add(*options) == 1
    assert (
        "--range: is missing, and the bundle has no old task of depth; give it, as 0.5,10"
        in capsys.readouterr().err
    )
    for wrong in ("3", "3,1", "0,4", "a,b", "1,inf"):
        assert add(*options, "--range", wrong) == 2
        assert f"--range: expected two ascending numbers above 0, found {wrong!r}" in capsys.readouterr().err
    assert add(*options, "--range", "0.5,10", "--scale", "0.001") == 0
    settings = palimpsest.open(NEW).entry("new").settings
    assert (settings["range"], settings["scale"]) == ([0.5, 10], 0.001)


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


def test_annotations_of_coco_are_read_from_one_file(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    from palimpsest.data.generated import generate_coco  # noqa: PLC0415

    generate_coco(Path("coco"), {"train2017": 12, "val2017": 1}, 40, 0)
    Path("coco/annotations/instances_train2017.json").rename("labels.json")
    data = ["--data", "coco/train2017", "--annotations", "labels.json"]
    assert add("--kind", "segmentation", *data, "--steps", "4", "--classes", "kite,donut") == 0
    assert palimpsest.open(NEW).entry("new").classes == ["background", "kite", "donut"]
    capsys.readouterr()
    assert cli.main(["evaluate", NEW, "--task", "new", *data]) == 0
    assert "new: 12 pictures (all, since the data have no splits)" in capsys.readouterr().out


def test_without_classes_all_that_are_annotated_are_learned(file: str) -> None:
    from palimpsest.data.generated import generate_coco  # noqa: PLC0415

    generate_coco(Path("coco"), {"train2017": 12, "val2017": 4}, 40, 0)
    path = Path("coco/annotations/instances_train2017.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["categories"].append({"id": 999, "name": "unicorn", "supercategory": "animal"})
    path.write_text(json.dumps(content), encoding="utf-8")
    assert add("--kind", "segmentation", "--data", "coco", "--steps", "2") == 0
    classes = palimpsest.open(NEW).entry("new").classes
    assert classes is not None and {"kite", "donut"} <= {*classes} and "unicorn" not in classes


def test_weights_choose_the_perceptual_network(style: str) -> None:
    metrics = {}
    options = ["--kind", "style", "--data", "pictures", "--painting", "pictures/00.png", "--steps", "2", "--force"]
    for name, weights in (("random", []), ("squeezenet", ["--weights", perceptual_weights()])):
        assert add(*options, *weights) == 0
        entry = palimpsest.open(NEW).entry("new")
        assert entry.settings["perceptual"] == name and entry.quality is not None
        metrics[name] = entry.quality.metrics
    assert all(metrics["random"][key] != metrics["squeezenet"][key] for key in ("content_loss", "style_loss"))


@pytest.mark.parametrize(("number", "held_out"), [(2, 1), (7, 1), (24, 2), (40, 4)])
@pytest.mark.parametrize("kind", ["paired", "colorization"])
def test_a_tenth_is_held_out(
    file: str, number: int, held_out: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs("a", "b", number)
    data = ["--input", "a", "--target", "b"] if kind == "paired" else ["--data", "a"]
    assert add("--kind", kind, *data, "--steps", "1", "--batch-size", "1", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images"] == held_out
    origin = palimpsest.open(NEW).entry("new").origin
    assert (origin.preset, origin.commit, origin.settings["held_out"]) == ("", "", 0.1)
    assert origin.seed != palimpsest.open(FILE).entry("colour").origin.seed


def test_an_interrupted_training_goes_on_and_ends_with_the_same_file(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs("a", "b")
    options = ["--kind", "paired", "--input", "a", "--target", "b"]
    assert add(*options) == 0
    whole = Path(NEW).read_bytes()
    for written in (NEW, "more-new.png"):
        Path(written).unlink()
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


def test_an_interruption_in_the_first_epoch_keeps_nothing(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures("a")

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("palimpsest.adding.train", interrupt)
    assert add("--kind", "colorization", "--data", "a") == 130
    assert "error: interrupted in the first epoch; nothing is kept" in capsys.readouterr().err
    assert not Path(LEARNING).exists()


def test_the_result_is_printed_as_json(file: str, capfd: pytest.CaptureFixture[str]) -> None:
    pictures("a")
    assert add("--kind", "colorization", "--data", "a", "--steps", "2", "--json") == 0
    output = capfd.readouterr()
    printed = json.loads(output.out)
    quality = palimpsest.open(NEW).entry("new").quality
    assert quality is not None and printed["metrics"] == quality.metrics
    assert (printed["task"], printed["file"], printed["sample"]) == ("new", NEW, "more-new.png")
    assert printed["bit_identical"] == ["shapes", "halves", "colour"]
    assert output.err.startswith("step 2: loss ") and "Precision" not in output.err


def test_precision_is_not_announced(capfd: pytest.CaptureFixture[str]) -> None:
    from palimpsest.groups import TrainingSettings  # noqa: PLC0415
    from palimpsest.training.loop import start_fabric  # noqa: PLC0415

    start_fabric(TrainingSettings(accelerator="cpu", precision="bf16-mixed", threads=1))
    assert capfd.readouterr().err == ""


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
