import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image
from torch import nn

from palimpsest import cli
from palimpsest.errors import StorageError
from palimpsest.jobs import training_job
from palimpsest.methods import BASE, build_method
from palimpsest.methods.base import Start
from palimpsest.methods.masks import BinaryMask
from palimpsest.networks import build_network
from palimpsest.params import read, resolve
from palimpsest.settings import Settings
from palimpsest.storage.stored_task import LoadedTask
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import Provenance, load_task, save_task
from palimpsest.tasks import build_task
from tests.conftest import room_for

ORIENTATION = 0x0112
ONE = {"source": "generated", "format": "coco", "generate": {"train": 1, "val": 1}}
PARAMS = {
    "preset": "tiny",
    "seeds": [4],
    "defaults": {
        "methods": ["piggyback"],
        "sequence": ["classes", "colour", "painted"],
        "network": {"width": 2},
        "pictures": {"size": 32, "crop": 32},
        "datasets": {"any": ONE},
        "tasks": {
            "classes": {"kind": "segmentation", "data": "any", "classes": {"cat": ["cat"], "dog": ["dog"]}},
            "colour": {"kind": "colorization", "data": "any"},
            "painted": {"kind": "style", "data": "any", "picture": "painting.png", "perceptual": "random"},
        },
    },
    "presets": {"tiny": {}, "other": {}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a study whose tasks are stored and hold random weights and masks."""
    folder = tmp_path_factory.mktemp("study")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("params.yaml").write_text(yaml.safe_dump(PARAMS), encoding="utf-8")
        Image.new("RGB", (40, 40), "orange").save("painting.png")
        settings = resolve(read(Path("params.yaml")))
        base = store(settings, BASE, "classes", None)
        for name in settings.sequence[1:]:
            store(settings, "piggyback", name, base)
    return folder


@pytest.fixture(autouse=True)
def inside(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own that sees the study."""
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "painting.png", "models"):
        Path(name).symlink_to(study / name)


def store(settings: Settings, method_name: str, name: str, network_sha256: str | None) -> str:
    task = build_task(name, settings.tasks[name])
    job = training_job(settings, 4, method_name, name)
    torch.manual_seed(0)
    stored = StoredTasks.of(settings, 4, "piggyback")
    if network_sha256 is None:
        network: nn.Module = build_network(settings.network, task.head_channels)
    else:
        network = stored.network("classes")
        network.head = build_network(settings.network, task.head_channels).head
    method = build_method(method_name, job.method_settings)
    method.begin_task(Start(network, task, job.training))
    for module in network.modules():
        if isinstance(module, BinaryMask):
            nn.init.uniform_(module.score, 0, 0.02)
    base_file = "../base/classes.safetensors" if network_sha256 else ""
    values = job.model_dump(mode="json")
    provenance = Provenance("tiny", 4, method_name, name, values, network_sha256, base_file)
    return save_task(settings_path(settings, method_name, name), method.store(network), provenance)


def settings_path(settings: Settings, method: str, task: str) -> Path:
    return StoredTasks.of(settings, 4, method).layout.stored(4, method, task)


def picture(name: str, width: int, height: int) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(name)
    return name


def size(name: str) -> tuple[int, int]:
    with Image.open(name) as opened:
        assert (opened.format, opened.mode) == ("PNG", "RGB")
        return opened.size


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.mark.parametrize("task", ["classes", "colour", "painted"])
def test_pictures_of_any_size_come_out_at_their_size(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"wide.jpg": (640, 480), "tall.png": (333, 500), "dot.bmp": (1, 1), "strip.tif": (17, 3)}
    pictures = [picture(name, *shape) for name, shape in sizes.items()]
    assert cli.main(["translate", "--task", task, *pictures, "-o", "out"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines() == [f"{name} → out/{Path(name).stem}-{task}.png" for name in sizes]
    assert {name: size(f"out/{Path(name).stem}-{task}.png") for name in sizes} == sizes
    assert len(list(Path("out").iterdir())) == len(sizes)


def test_formats_are_read_as_a_viewer_shows_them() -> None:
    plain = Image.open(picture("plain.png", 40, 30))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was held upright
    plain.save("turned.jpg", exif=exif)
    plain.convert("L").save("grey.png")
    plain.convert("P").save("palette.gif")
    plain.convert("CMYK").save("print.jpg")
    plain.putalpha(90)
    plain.save("alpha.png")
    Image.fromarray(np.full((30, 40), 40000, np.uint16)).save("deep.png")
    names = ["turned.jpg", "grey.png", "palette.gif", "print.jpg", "alpha.png", "deep.png"]
    assert cli.main(["translate", "--task", "colour", *names, "-o", "out"]) == 0
    found = {name: size(f"out/{Path(name).stem}-colour.png") for name in names}
    assert found == dict.fromkeys(names, (40, 30)) | {"turned.jpg": (30, 40)}
    luma = np.asarray(Image.open("out/deep-colour.png")) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - 40000 / 257).max() < 1


def test_masks_decide_what_comes_out() -> None:
    name = picture("one.png", 64, 64)
    for task in ("colour", "painted"):
        assert cli.main(["translate", "--task", task, name, "-o", "out"]) == 0
    found = [np.asarray(Image.open(f"out/one-{task}.png")).astype(int) for task in ("colour", "painted")]
    assert np.abs(found[0] - found[1]).mean() > 1


def test_results_of_the_same_name_stand_side_by_side() -> None:
    pictures = [picture("a/cat.png", 20, 30), picture("b/cat.jpg", 50, 10)]
    assert cli.main(["translate", "--task", "colour", *pictures, "-o", "out"]) == 0
    assert (size("out/cat-colour.png"), size("out/cat-2-colour.png")) == ((20, 30), (50, 10))


def test_a_name_that_is_not_utf_8_is_translated_and_told_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    latin = os.fsdecode("café.png".encode("latin-1"))
    try:
        picture(latin, 20, 30)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert cli.main(["translate", "--task", "colour", latin, "gone.png", "-o", "out"]) == 1
    captured = capsys.readouterr()
    assert captured.out == r"caf\udce9.png → out/caf\udce9-colour.png" + "\n"
    assert captured.err == "error: gone.png: no such file\n"


def test_no_picture_is_written_over() -> None:
    pictures = [picture("cat.png", 20, 30), picture("cat-colour.png", 50, 10)]
    before = Path("cat-colour.png").read_bytes()
    assert cli.main(["translate", "--task", "colour", *pictures, "-o", "."]) == 0
    assert Path("cat-colour.png").read_bytes() == before
    assert size("cat-2-colour.png") == (20, 30)


def test_one_network_serves_all_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    build = LoadedTask.build
    monkeypatch.setattr(LoadedTask, "build", lambda self: loads.append(self.path) or build(self))
    pictures = [picture(f"{number}.png", 32, 32) for number in range(3)]
    assert cli.main(["translate", "--task", "painted", *pictures, "-o", "out"]) == 0
    assert len(loads) == 1


def test_a_broken_picture_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.jpg").write_bytes(b"no picture")
    pictures = [picture("first.png", 32, 32), "broken.jpg", picture("last.png", 32, 32)]
    assert cli.main(["translate", "--task", "colour", *pictures, "-o", "out"]) == 1
    assert only_line(capsys).startswith("error: broken.jpg: not a picture")
    assert sorted(path.name for path in Path("out").iterdir()) == ["first-colour.png", "last-colour.png"]


def test_a_picture_that_no_memory_holds_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from palimpsest.translation import Translator  # noqa: PLC0415

    predict = Translator.predict

    def limited(self: Translator, photograph: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> torch.Tensor:
        if photograph.shape[0] > 100:
            raise RuntimeError("can't allocate\nmemory")
        return predict(self, photograph)

    monkeypatch.setattr(Translator, "predict", limited)
    pictures = [picture("large.png", 32, 200), picture("small.png", 32, 32)]
    assert cli.main(["translate", "--task", "painted", *pictures, "-o", "out"]) == 1
    line = only_line(capsys)
    assert line.startswith("error: large.png: ") and "can't allocate memory" in line
    assert [path.name for path in Path("out").iterdir()] == ["small-painted.png"]


def test_a_picture_that_a_network_cannot_see_whole_is_named_with_its_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from palimpsest import translation  # noqa: PLC0415
    from palimpsest.networks.unet import UNet  # noqa: PLC0415

    monkeypatch.setattr(UNet, "reach", None)
    monkeypatch.setattr(translation, "free_memory", lambda: 2 * UNet.bytes_per_pixel * 32 * 100)
    pictures = [picture("large.png", 32, 200), picture("small.png", 32, 32)]
    assert cli.main(["translate", "--task", "painted", *pictures, "-o", "out"]) == 1
    assert only_line(capsys).startswith("error: large.png: 32×200 pixels need about 0.0 GiB of memory")
    assert [path.name for path in Path("out").iterdir()] == ["small-painted.png"]


def test_a_result_that_cannot_be_written_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = [picture(name, 32, 32) for name in ("one.png", "two.png")]
    command = ["translate", "--task", "colour", *pictures, "-o", "out"]
    with room_for(100):
        assert cli.main(command) == 1
    assert only_line(capsys) == (  # and none for the other picture, which would not fit either
        "error: out/one-colour.png: cannot be written (File too large); make room and run the same command again"
    )
    assert list(Path("out").iterdir()) == []
    assert cli.main(command) == 0
    assert len(list(Path("out").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "color"], "--task: there is no 'color'; did you mean 'colour'?"),
        (["--task", "zzz"], "--task: there is no 'zzz'; there are classes, colour, painted"),
        (
            ["--task", "colour", "--method", "pigyback"],
            "--method: there is no 'pigyback'; did you mean 'piggyback'?",
        ),
        (["--task", "colour", "--preset", "tny"], "--preset: there is no 'tny'; did you mean 'tiny'?"),
        (
            ["--task", "colour", "--seed", "x"],
            "argument --seed: invalid int value: 'x'; see: palimpsest translate --help",
        ),
        (["--tusk", "colour"], "the following arguments are required: --task; see: palimpsest translate --help"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["translate", *arguments, "one.png", "-o", "out"]) == 2
    assert only_line(capsys) == f"error: {said}"
    assert not Path("out").exists()


def test_a_file_where_the_folder_should_be_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    name = picture("one.png", 32, 32)
    assert cli.main(["translate", "--task", "colour", name, "-o", name]) == 2
    assert only_line(capsys).startswith("error: one.png: is a file")


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
def test_a_task_that_is_not_trained_says_what_trains_it(
    arguments: list[str], path: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["translate", "--preset", "other", "--task", "colour", *arguments, "one.png", "-o", "out"]
    assert cli.main(given) == 1
    said = f"error: {path}: not trained yet; make it with: snakemake --cores all {path} {command}"
    assert only_line(capsys) == said
    assert not Path("out").exists()


def test_a_missing_base_network_is_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("models").unlink()
    Path("models/tiny/seed-4").mkdir(parents=True)
    Path("models/tiny/seed-4/piggyback").symlink_to(study / "models/tiny/seed-4/piggyback")
    assert cli.main(["translate", "--task", "colour", picture("one.png", 32, 32), "-o", "out"]) == 1
    assert only_line(capsys).startswith("error: models/tiny/seed-4/base/classes.safetensors: not trained yet")


COLOUR, CLASSES = (
    Path("models/tiny/seed-4", *parts)
    for parts in (("piggyback", "colour.safetensors"), ("base", "classes.safetensors"))
)


def retrain_base() -> None:
    """Put another base network in the place of the one that the masks belong to."""
    base = load_task(CLASSES)
    moved = [replace(c, tensors={name: t + 1 for name, t in c.tensors.items()}) for c in base.components]
    save_task(CLASSES, moved, base.provenance)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda whole: whole[:-9], "not a complete safetensors file"),
        (
            lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
            "the tensors were altered: expected SHA-256 .*, found ",
        ),
        (
            lambda whole: safetensors.torch.save({"x": torch.zeros(1)}),
            "expected format 'palimpsest task 3', found None",
        ),
        (lambda whole: (2**60).to_bytes(8, "little") + whole[8:], "not a complete safetensors file"),
        (lambda whole: retrain_base() or whole, r"expected the base network \w+…, found \w+… in .*classes"),
    ],
    ids=["truncated", "one byte flipped", "foreign header", "header of 2^60 bytes", "another base"],
)
def test_a_stored_task_that_cannot_be_used_is_one_line_and_is_left_alone(
    study: Path, damage: Callable[[bytes], bytes], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("models").unlink()
    shutil.copytree(study / "models", "models")
    COLOUR.write_bytes(damage(COLOUR.read_bytes()))
    before = {path: path.read_bytes() for path in Path("models").rglob("*.safetensors")}
    assert cli.main(["translate", "--task", "colour", picture("one.png", 32, 32), "-o", "out"]) == 1
    line = only_line(capsys)
    assert re.search(rf"{COLOUR}: {told}.*; restore it with `dvc pull`, or delete it: the next `snakemake", line), (
        line
    )
    assert {path: path.read_bytes() for path in Path("models").rglob("*.safetensors")} == before
    assert not Path("out").exists()


def test_pictures_that_are_missing_or_cut_off_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    Image.effect_noise((64, 64), 90).save("half.jpg")
    Path("half.jpg").write_bytes(Path("half.jpg").read_bytes()[:900])
    assert cli.main(["translate", "--task", "colour", "gone.jpg", "half.jpg", "-o", "out"]) == 1
    missing, half = capsys.readouterr().err.splitlines()
    assert missing == "error: gone.jpg: no such file"
    assert half.startswith("error: half.jpg: cannot be read: image file is truncated")
    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "preset: [tiny\nseeds: 0\n",
            "params.yaml, line 2: is not valid YAML (expected ',' or ']', but got ':'); correct the file",
        ),
        ("preset: tyni\npresets: {tiny: {}}", "preset: there is no 'tyni'; did you mean 'tiny'?"),
        (
            yaml.safe_dump({**PARAMS, "presets": {"tiny": {"training": {"learning_rat": 1}}}}),
            "training.learning_rat: unknown setting; did you mean 'learning_rate'?",
        ),
    ],
)
def test_settings_that_cannot_be_read_are_one_line(
    text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").unlink()
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert cli.main(["translate", "--task", "colour", "one.png", "-o", "out"]) == 1
    assert only_line(capsys) == f"error: {told}"


def test_a_task_runs_with_the_settings_it_was_trained_with() -> None:
    name = picture("one.png", 100, 80)
    assert cli.main(["translate", "--task", "classes", name, "-o", "before"]) == 0
    edited = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    edited["defaults"]["network"]["width"] = 3
    edited["defaults"]["pictures"]["size"] = 64
    edited["defaults"]["tasks"]["classes"]["classes"]["cow"] = ["cow"]
    Path("params.yaml").unlink()
    Path("params.yaml").write_text(yaml.safe_dump(edited), encoding="utf-8")
    assert cli.main(["translate", "--task", "classes", name, "-o", "after"]) == 0
    assert Path("after/one-classes.png").read_bytes() == Path("before/one-classes.png").read_bytes()


def test_settings_that_only_training_needs_may_be_of_another_version(study: Path) -> None:
    path = study / "models/tiny/seed-4/base/classes.safetensors"
    file = load_task(path)
    old = {**file.provenance.settings, "optimiser": "sgd"}
    old["training"] = {**old["training"], "colour_space": "srgb"}
    Path("models").unlink()
    save_task(
        Path("models/tiny/seed-4/base/classes.safetensors"), file.components, replace(file.provenance, settings=old)
    )
    assert cli.main(["translate", "--task", "classes", picture("one.png", 32, 32), "-o", "out"]) == 0


def test_settings_of_another_version_say_how_to_train_again(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_outside_a_study_the_line_says_where_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("params.yaml").unlink()
    assert cli.main(["translate", "--task", "colour", "one.png", "-o", "out"]) == 1
    assert only_line(capsys).startswith("error: params.yaml: is missing; run palimpsest in the folder of the study")


@pytest.mark.parametrize("arguments", [["--debug", "translate"], ["translate", "--debug"]])
def test_a_traceback_is_shown_only_when_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = [*arguments, "--preset", "other", "--task", "colour", "one.png", "-o", "out"]
    assert cli.main(given) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert any(StorageError.__name__ in line for line in lines)
    assert lines[-1].startswith("error: models/other/")


def test_what_nobody_foresaw_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(StoredTasks, "of", lambda *arguments: {}["lost"])
    assert cli.main(["translate", "--task", "colour", "one.png", "-o", "out"]) == 1
    assert only_line(capsys) == "error: unexpected KeyError: 'lost'; --debug shows where"


@pytest.mark.parametrize("arguments", [["--help"], *([command.name, "--help"] for command in cli.COMMANDS)])
def test_help_gives_an_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 0
    commands = cli.COMMANDS if arguments == ["--help"] else [c for c in cli.COMMANDS if c.name == arguments[0]]
    printed = capsys.readouterr().out
    assert all(command.example in printed for command in commands)


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_examples_are_right_use(command: cli.Command) -> None:
    program, *arguments = command.example.split()
    assert program == "palimpsest"
    assert cli.parser().parse_args(arguments).command == command.name


def test_help_and_wrong_use_do_without_pytorch() -> None:
    script = (
        "import sys; from palimpsest import cli\n"
        "assert cli.main(['translate', '--task', 'color', 'one.png', '-o', 'out']) == 2\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_a_picture_above_the_option_is_refused_and_the_others_are_translated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small, large = picture("small.png", 20, 20), picture("large.png", 40, 30)
    given = ["translate", "--task", "colour", large, small, "-o", "out", "--max-megapixels", "0.001"]
    assert cli.main(given) == 1
    assert only_line(capsys) == (
        "error: large.png: 40×30 pixels are 0.0012 megapixels, and the limit is 0.001; scale the picture down or "
        "raise --max-megapixels"
    )
    assert [path.name for path in Path("out").iterdir()] == ["small-colour.png"]


@pytest.mark.parametrize("number", ["0", "-1", "many", "nan"])
def test_the_option_is_a_number_above_zero(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["translate", "--task", "colour", "a.png", "-o", "out", "--max-megapixels", number]
    assert cli.main(given) == 2
    assert only_line(capsys).startswith(f"error: argument --max-megapixels: invalid positive value: '{number}'")


def test_a_picture_may_come_from_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """As a shell's `<(command)`."""
    os.mkfifo("pipe")
    content = Path(picture("a.png", 20, 20)).read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(content), daemon=True)
    writer.start()
    assert cli.main(["translate", "--task", "colour", "pipe", "-o", "out"]) == 0
    assert size("out/pipe-colour.png") == (20, 20)


def run_as_a_program(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `$PALIMPSEST …` in a shell."""
    around = {**os.environ, **variables, "PALIMPSEST": f"{sys.executable} -m palimpsest.cli"}
    return subprocess.run(["sh", "-c", command], env=around, capture_output=True, text=True, check=False)


def test_all_pictures_are_translated_in_a_locale_without_arrows_and_when_nobody_reads() -> None:
    names = f"{picture('a.png', 8, 8)} {picture('b.png', 8, 8)}"
    translate = f"$PALIMPSEST translate --task colour {names} -o"
    told = run_as_a_program(f"{translate} ascii && {{ {translate} unread; }} | true", PYTHONIOENCODING="ascii")
    assert told.stdout.splitlines() == [f"{name}.png \\u2192 ascii/{name}-colour.png" for name in "ab"]
    assert told.stderr == ""
    for folder in ("ascii", "unread"):
        assert {path.name for path in Path(folder).iterdir()} == {"a-colour.png", "b-colour.png"}
