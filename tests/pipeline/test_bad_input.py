"""Data and settings of users: each stage reads them correctly, or ends with one line of error and its remedy."""

import copy
import json
import re
import runpy
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from palimpsest import machine
from palimpsest.data.arrays import Prepared
from palimpsest.data.generated import generate_coco, generate_voc
from palimpsest.data.pictures import read_picture
from palimpsest.layout import Layout
from tests.conftest import ROOT, job_in_this_process
from tests.pipeline.conftest import OF_TRAININGS, Study, copied

Content = dict[str, Any]
PARAMS: Content = {
    "preset": "mine",
    "defaults": {
        "methods": ["scratch"],
        "sequence": ["shapes", "maps", "gogh"],
        "network": {"width": 2},
        "pictures": {"size": 32, "crop": 32, "dev_share": 0},
        "training": {"steps": 4, "batch_size": 2, "steps_per_epoch": 2, "accelerator": "cpu"},
        "datasets": {
            "coco": {"format": "coco", "source": "directory", "root": "coco"},
            "voc": {"format": "voc", "source": "directory", "root": "voc"},
        },
        "tasks": {
            "shapes": {
                "kind": "segmentation",
                "data": "coco",
                "classes": {"sign": ["stop sign"], "food": ["food"]},
            },
            "maps": {"kind": "segmentation", "data": "voc", "classes": {"boat": ["boat"], "bus": ["bus"]}},
            "gogh": {"kind": "style", "data": "coco", "picture": "gogh.png", "perceptual": "random"},
        },
    },
    "presets": {"mine": {}},
}
PREPARED = Layout("mine").prepared
PHOTOGRAPHS = Path("coco/train2017")
INDEX = Path("coco/annotations/instances_train2017.json")
DEVKIT = Path("voc/VOCdevkit/VOC2012")
MAPS = DEVKIT / "SegmentationClass"


def run(stage: str, *options: str) -> None:
    """Run `python -m pipeline.<stage>` in this process."""
    with pytest.MonkeyPatch.context() as patch, job_in_this_process():
        patch.setattr(sys, "argv", [stage, "--log", f"logs/{stage}.log", *options])
        patch.delitem(sys.modules, f"pipeline.{stage}", raising=False)
        runpy.run_module(f"pipeline.{stage}", run_name="__main__")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two data sets, a painting, settings, and the arrays of every task."""
    folder = tmp_path_factory.mktemp("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        generate_coco(Path("coco"), {"train2017": 4, "val2017": 2}, 40, seed=47)
        generate_voc(Path("voc"), {"train": 4, "val": 2}, 40, seed=47)
        Image.new("RGB", (40, 40), "orange").save("gogh.png")
        Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
        for task in ("shapes", "maps", "gogh"):
            run("prepare", "--task", task)
        shutil.rmtree("logs")
    return folder


@pytest.fixture(autouse=True)
def inside(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a new copy."""
    shutil.copytree(made_once, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")


def finished() -> dict[Path, bytes]:
    """Return the outputs of the pipeline; Snakemake removes those of a failed stage."""
    folders = [Path(name) for name in ("data", "models")]
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], stage: str, *options: str) -> str:
    """Return the single line of error of a stage; check that finished files are unchanged."""
    before = finished()
    with pytest.raises(SystemExit) as ended:
        run(stage, *options)
    assert ended.value.code == 1 and finished() == before
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and printed.endswith("\n") and printed.count("\n") == 1, printed
    assert "Traceback" in Path(f"logs/{stage}.log").read_text("utf-8")
    return printed.rstrip("\n")


def index() -> Any:
    """Return the JSON of the training pictures."""
    return json.loads(INDEX.read_text())


def edit_index(change: Callable[[Any], object]) -> None:
    """Change this JSON."""
    content = index()
    change(content)
    INDEX.write_text(json.dumps(content))


def edit_params(change: Callable[[Content], object]) -> None:
    """Change `params.yaml`."""
    content = copy.deepcopy(PARAMS)
    change(content["defaults"])
    Path("params.yaml").write_text(yaml.safe_dump(content))


def cut(path: Path) -> None:
    """Truncate a file to half its size."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN_PICTURE = r"coco: train from 'train': 1 of 4 pictures are broken, .* or raise pictures\.broken_share: "
FIRST = PHOTOGRAPHS / "000000000001.jpg"
DAMAGES: dict[str, tuple[str, Callable[[], object], str]] = {
    "picture missing": ("shapes", FIRST.unlink, BROKEN_PICTURE + f"{FIRST}: no such file"),
    "truncated JPEG": ("shapes", lambda: cut(FIRST), BROKEN_PICTURE + f"{FIRST}: .* truncated"),
    "another size in the JSON": (
        "shapes",
        lambda: edit_index(lambda content: content["images"][0].update(width=640)),
        BROKEN_PICTURE + f"{FIRST}: its annotations are for 640×40 pixels, the picture has 53×40",
    ),
    "category not in the table": (
        "shapes",
        lambda: edit_index(lambda content: content["annotations"][0].update(category_id=99)),
        BROKEN_PICTURE + f"{FIRST}: annotation 100 has an unknown category",
    ),
    "annotation without picture": (
        "shapes",
        lambda: edit_index(lambda content: content["annotations"][0].update(image_id=77)),
        r"1 of 5 pictures are broken.*\(id 77\)|77: 1 annotations, but no picture has the id 77",
    ),
    "duplicated picture id": (
        "shapes",
        lambda: edit_index(lambda content: content["images"][1].update(id=1)),
        f"pictures are broken.*{FIRST}: the id 1 belongs to several pictures: {FIRST.name}, 000000000002.jpg",
    ),
    "JSON cut off": (
        "shapes",
        lambda: cut(INDEX),
        rf"{INDEX}: not an annotation file of COCO \(.*\); correct it or fetch it again",
    ),
    "entry without id": (
        "shapes",
        lambda: edit_index(lambda content: content["images"][2].pop("id")),
        rf"{INDEX}: not an annotation file of COCO \(images\[2\]: 'id' is missing\); correct it",
    ),
    "empty split": (
        "shapes",
        lambda: edit_index(lambda content: (content["images"].clear(), content["annotations"].clear())),
        "coco: train from 'train': no pictures .*; change the task's splits or images",
    ),
    "empty list of names": (
        "maps",
        lambda: (DEVKIT / "ImageSets/Segmentation/val.txt").write_text("\n"),
        "voc: val from 'val': no pictures .*; change the task's splits or images",
    ),
    "label 200": (
        "maps",
        lambda: repaint(lambda labels: np.full_like(labels, 200)),
        rf"1 of 4 .*raise pictures\.broken_share: {MAPS}/\S+: label 200, but VOC has 0 to 20 and 255",
    ),
    "map of another size": (
        "maps",
        lambda: repaint(lambda labels: labels[:-3]),
        rf"1 of 4 .*{MAPS}/\S+: the label map has 40×49 pixels, the picture has 40×52",
    ),
    "category that the data set lacks": (
        "shapes",
        lambda: edit_params(lambda content: content["tasks"]["shapes"].update(classes={"sign": ["stop sing"]})),
        r"tasks\.shapes\.classes\.sign: unknown category 'stop sing'; did you mean 'stop sign'\?",
    ),
}


def repaint(change: Callable[[Any], Any]) -> None:
    """Change the label map of the first photograph."""
    path = sorted(MAPS.iterdir())[0]
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_data_give_one_line_and_leave_earlier_arrays(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    task, damage, message = DAMAGES[name]
    damage()
    line = refused(capsys, "prepare", "--task", task)
    assert re.search(message, line), line


def test_a_broken_picture_among_many_is_left_out_counted_and_listed() -> None:
    FIRST.unlink()
    run("prepare", "--task", "shapes", "--config", '{"pictures": {"broken_share": 0.25}}')
    info = Prepared.open(PREPARED("shapes")).info
    assert info["splits"]["train"] == {"from": "train", "pictures": 3, "refused": 0, "broken": 1}
    assert info["left_out"][0]["reason"] == f"train2017/{FIRST.name}: no such file; add it or correct the path"
    assert f"{FIRST.name} left out, broken: " in Path("logs/prepare.log").read_text("utf-8")


SETTINGS: dict[str, tuple[Callable[[], object], str]] = {
    "unknown key": (
        lambda: edit_params(lambda content: content["training"].update(stepz=3)),
        "training.stepz: unknown setting; did you mean 'steps'?",
    ),
    "negative learning rate": (
        lambda: edit_params(lambda content: content["training"].update(learning_rate=-1)),
        "training.learning_rate: Input should be greater than 0",
    ),
    "task named twice": (
        lambda: edit_params(lambda content: content["sequence"].append("maps")),
        "sequence: duplicate entry 'maps'; remove one",
    ),
    "width of 0": (
        lambda: edit_params(lambda content: content["network"].update(width=0)),
        "network.width: Input should be greater than or equal to 1",
    ),
    "crop larger than the picture": (
        lambda: edit_params(lambda content: content["pictures"].update(crop=64)),
        "pictures: crop (64) is larger than size (32); lower crop or raise size",
    ),
    "no YAML": (
        lambda: Path("params.yaml").write_text("preset: mine\ndefaults: [\n"),
        "params.yaml, line 3: is not valid YAML (expected the node content, but found '<stream end>'); "
        "correct the file",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_wrong_settings_give_one_line_and_no_output(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, message = SETTINGS[name]
    change()
    assert refused(capsys, "prepare", "--task", "maps") == f"error: {message}"


def test_a_missing_painting_is_refused_with_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gogh.png").unlink()
    line = refused(capsys, "floor", "--seed", "0")
    assert line == "error: gogh.png: no such file; add it or correct the path; see tasks.gogh.picture"


def test_weights_of_another_network_are_refused_with_their_key(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "squeezenet.pth")
    style = {"perceptual": "vgg16", "weights": "squeezenet.pth"}
    edit_params(lambda content: content["tasks"]["gogh"].update(style))
    line = refused(capsys, "floor", "--seed", "0")
    assert line.startswith(
        "error: squeezenet.pth: not the weights of VGG-16: expected features.0.bias of shape (64,)"
    )
    assert line.endswith("; see tasks.gogh.weights")


def test_equal_pictures_in_another_form_give_equal_arrays() -> None:
    """Test EXIF orientation, alpha, new names and ids, nested points, maps in colours, and unrelated files."""
    before = {task: Prepared.open(PREPARED(task)) for task in ("shapes", "maps")}
    arrays = {
        task: (np.array(arrays_of_task.picture), np.array(arrays_of_task.target))
        for task, arrays_of_task in before.items()
    }
    turned, tiff, opaque, renamed = sorted(PHOTOGRAPHS.iterdir())
    exif = Image.Exif()
    exif[0x0112] = 6
    for path, kind in ((turned, "PNG"), (tiff, "TIFF")):
        stored = Image.fromarray(np.rot90(read_picture(path)))  # a rotation to the right shows it upright
        stored.save(path, format=kind, exif=exif)
    Image.fromarray(read_picture(opaque)).convert("RGBA").save(opaque, format="PNG")
    renamed.rename(renamed.with_name("ein Bild – ü 日本.jpg"))
    for name in (f"._{turned.name}", "Thumbs.db", ".DS_Store"):
        (PHOTOGRAPHS / name).write_bytes(b"no picture")

    def rewrite(content: Any) -> None:
        content["images"][3]["file_name"] = "ein Bild – ü 日本.jpg"
        for kind, id_type in (("images", str), ("categories", float)):
            for entry in content[kind]:
                entry["id"] = id_type(entry["id"])
        for entry in content["annotations"]:
            entry["segmentation"] = [
                [part[n : n + 2] for n in range(0, len(part), 2)] for part in entry["segmentation"]
            ]

    edit_index(rewrite)
    for path in MAPS.iterdir():
        Image.open(path).convert("RGB").save(path)
    for task, (picture, target) in arrays.items():
        shutil.rmtree(PREPARED(task))
        run("prepare", "--task", task)
        after = Prepared.open(PREPARED(task))
        assert np.array_equal(after.picture, picture) and np.array_equal(after.target, target)
        assert after.info["left_out"] == []


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "I;16"])
def test_pictures_of_every_mode_are_read(mode: str) -> None:
    """Test that no mode is broken; `data/test_pictures` tests the pixels."""
    for path in PHOTOGRAPHS.iterdir():
        grey = Image.fromarray(read_picture(path)).convert("L")
        deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        picture = deep if mode == "I;16" else Image.fromarray(read_picture(path)).convert(mode)
        picture.save(path, format="TIFF")
    shutil.rmtree(PREPARED("gogh"))
    run("prepare", "--task", "gogh")
    assert Prepared.open(PREPARED("gogh")).info["splits"]["train"]["pictures"] == 4


@pytest.mark.slow
def test_a_loss_of_nan_ends_its_training_alone() -> None:
    for name in ("src", "pipeline"):  # the code is part of a training's identity
        Path(name).symlink_to(ROOT / name)
    study = Study(Path.cwd())  # separate processes: MLflow keeps a database open
    job = ("python", "-m", "pipeline.train", "--seed", "0", "--log", "logs/train.log")
    study.run(*job, "--method", "base", "--task", "shapes")
    before = finished()
    diverging = ("--config", '{"training": {"learning_rate": 1e30, "warmup": 0}}')
    ended = study.run(*job, "--method", "scratch", "--task", "maps", *diverging, check=False)
    assert ended.returncode == 1 and finished() == before
    message = r"error: step [123]: the loss is (nan|inf); lower training\.learning_rate"
    assert re.fullmatch(message, ended.stderr.splitlines()[-1]) and "Traceback" not in ended.stderr, ended.stderr
    with closing(sqlite3.connect("mlflow.db")) as database:
        runs = dict(database.execute(f"SELECT name, status FROM runs WHERE {OF_TRAININGS}"))
    assert runs == {"base · shapes · seed 0": "FINISHED", "scratch · maps · seed 0": "FAILED"}


FAULTS = {
    "tasks={style-gogh: {picture: lost.jpg}}": (
        "tasks.style-gogh.picture: file lost.jpg does not exist; correct the path"
    ),
    "tasks={coco-seg: {splits: {train: tran}}}": (
        "tasks.coco-seg.splits.train: data set 'coco' has no annotated split 'tran'; did you mean 'train'?"
    ),
    "training={devices: 3}": (
        "training.devices: 3 devices cannot share a batch of 16 pictures equally (training.batch_size); set "
        "training.batch_size to a multiple of 3, or training.devices to a divisor of 16"
    ),
    "training={accelerator: cuda}": (
        "training.accelerator: this machine has no GPU for 'cuda'; set it to auto or cpu"
    ),
}
"""Settings on the command line and their errors."""


@pytest.fixture(scope="module")
def of_mini(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return the study of the preset `mini` without outputs."""
    study = copied(tmp_path_factory.mktemp("mini") / "project")
    study.write_params(yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")))
    return study


@pytest.mark.slow
@pytest.mark.parametrize("config", FAULTS)
def test_a_fault_is_reported_before_any_work(of_mini: Study, config: str) -> None:
    if "cuda" in config and machine.gpus():
        pytest.skip("this machine has a card")
    ended = of_mini.run("snakemake", "--cores", "2", "all", "--config", config, check=False)
    assert ended.returncode == 1 and not (of_mini.folder / "data").exists()
    assert ended.stderr.splitlines()[-1] == f"error: {FAULTS[config]}"
