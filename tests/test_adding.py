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
from palimpsest import cli, translation
from palimpsest.bundling import bundle_study
from palimpsest.data.generated import generate_voc
from palimpsest.errors import TrainingError
from tests.conftest import ROOT, Study

pytestmark = pytest.mark.slow

FILE, NEW, LEARNING = "tasks.safetensors", "more.safetensors", "more.learning"


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


def pairs(inputs: str, targets: str, number: int = 24) -> None:
    """Write pairs: a picture, and its negative as the target."""
    Path(targets).mkdir(parents=True)
    for path in pictures(inputs, number):
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


@pytest.fixture
def style(new_study: Callable[..., Study]) -> str:
    """Write a bundle with a style whose loss has random weights; return its name."""
    pictures("pictures")
    painted = {"kind": "style", "data": "drawn", "picture": "pictures/00.png", "perceptual": "random"}
    study = new_study(
        network={"width": 4}, sequence=["shapes", "painted"], tasks={"painted": painted}, training={"steps": 2}
    )
    study.store_untrained("piggyback", "painted")
    bundle_study(study.settings, 0, "piggyback").save(Path(FILE))
    return FILE


def test_weights_choose_the_perceptual_network(style: str) -> None:
    metrics = {}
    options = ["--kind", "style", "--data", "pictures", "--painting", "pictures/00.png", "--steps", "2", "--force"]
    for name, weights in (("random", []), ("squeezenet", ["--weights", perceptual_weights()])):
        assert add(*options, *weights) == 0
        entry = palimpsest.open(NEW).entry("new")
        assert entry.settings["perceptual"] == name and entry.quality is not None
        metrics[name] = entry.quality.metrics
    assert all(metrics["random"][key] != metrics["squeezenet"][key] for key in ("content_loss", "style_loss"))


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
