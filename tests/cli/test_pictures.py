"""Pictures that `translate` reads and writes."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from palimpsest import cli
from palimpsest.data.voc import palette
from palimpsest.storage.stored_task import LoadedTask
from tests.cli.conftest import only_line, picture, size
from tests.conftest import room_for

ORIENTATION = 0x0112


@pytest.mark.parametrize("task", ["classes", "colour", "painted"])
def test_outputs_have_the_size_of_their_inputs(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"wide.jpg": (640, 480), "tall.png": (333, 500), "dot.bmp": (1, 1), "strip.tif": (17, 3)}
    pictures = [picture(name, *shape) for name, shape in sizes.items()]
    assert cli.main(["translate", "--preset", "tiny", "--task", task, *pictures, "-o", "out"]) == 0
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
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", *names, "-o", "out"]) == 0
    sizes = {name: size(f"out/{Path(name).stem}-colour.png") for name in names}
    assert sizes == dict.fromkeys(names, (40, 30)) | {"turned.jpg": (30, 40)}
    luma = np.asarray(Image.open("out/deep-colour.png")) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - 40000 / 257).max() < 1


def test_different_masks_give_different_outputs() -> None:
    name = picture("one.png", 64, 64)
    for task in ("colour", "painted"):
        assert cli.main(["translate", "--preset", "tiny", "--task", task, name, "-o", "out"]) == 0
    pictures = [np.asarray(Image.open(f"out/one-{task}.png")).astype(int) for task in ("colour", "painted")]
    assert np.abs(pictures[0] - pictures[1]).mean() > 1


def test_outputs_of_equal_names_get_different_names() -> None:
    pictures = [picture("a/cat.png", 20, 30), picture("b/cat.jpg", 50, 10)]
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", *pictures, "-o", "out"]) == 0
    assert (size("out/cat-colour.png"), size("out/cat-2-colour.png")) == ((20, 30), (50, 10))


def test_a_name_that_is_not_utf_8_is_printed_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    latin = os.fsdecode("café.png".encode("latin-1"))
    try:
        picture(latin, 20, 30)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", latin, "gone.png", "-o", "out"]) == 1
    captured = capsys.readouterr()
    assert captured.out == r"caf\udce9.png → out/caf\udce9-colour.png" + "\n"
    assert captured.err == "error: gone.png: no such file; add it or correct the path\n"


def test_no_picture_is_overwritten() -> None:
    pictures = [picture("cat.png", 20, 30), picture("cat-colour.png", 50, 10)]
    before = Path("cat-colour.png").read_bytes()
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", *pictures, "-o", "."]) == 0
    assert Path("cat-colour.png").read_bytes() == before
    assert size("cat-2-colour.png") == (20, 30)


def test_the_network_is_loaded_once_for_all_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    build = LoadedTask.build
    monkeypatch.setattr(LoadedTask, "build", lambda self: loads.append(self.path) or build(self))
    pictures = [picture(f"{number}.png", 32, 32) for number in range(3)]
    assert cli.main(["translate", "--preset", "tiny", "--task", "painted", *pictures, "-o", "out"]) == 0
    assert len(loads) == 1


def test_a_broken_picture_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.jpg").write_bytes(b"no picture")
    pictures = [picture("first.png", 32, 32), "broken.jpg", picture("last.png", 32, 32)]
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", *pictures, "-o", "out"]) == 1
    assert only_line(capsys).startswith("error: broken.jpg: not a picture")
    assert sorted(path.name for path in Path("out").iterdir()) == ["first-colour.png", "last-colour.png"]


def test_a_picture_too_large_for_memory_does_not_stop_the_others(
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
    assert cli.main(["translate", "--preset", "tiny", "--task", "painted", *pictures, "-o", "out"]) == 1
    line = only_line(capsys)
    assert line.startswith("error: large.png: ") and "can't allocate memory" in line
    assert [path.name for path in Path("out").iterdir()] == ["small-painted.png"]


def test_a_picture_too_large_for_the_network_is_named_with_its_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from palimpsest import translation  # noqa: PLC0415
    from palimpsest.networks.unet import UNet  # noqa: PLC0415

    monkeypatch.setattr(UNet, "reach", None)
    monkeypatch.setattr(translation, "free_memory", lambda: 2 * UNet.bytes_per_pixel * 32 * 100)
    pictures = [picture("large.png", 32, 200), picture("small.png", 32, 32)]
    assert cli.main(["translate", "--preset", "tiny", "--task", "painted", *pictures, "-o", "out"]) == 1
    assert only_line(capsys).startswith("error: large.png: 32×200 pixels need about 0.0 GiB of memory")
    assert [path.name for path in Path("out").iterdir()] == ["small-painted.png"]


def test_an_output_that_cannot_be_written_leaves_no_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = [picture(name, 32, 32) for name in ("one.png", "two.png")]
    command = ["translate", "--preset", "tiny", "--task", "colour", *pictures, "-o", "out"]
    with room_for(100):
        assert cli.main(command) == 1
    assert only_line(capsys) == (  # one line for both pictures
        "error: out/one-colour.png: cannot be written (File too large); make room and run the same command again"
    )
    assert list(Path("out").iterdir()) == []
    assert cli.main(command) == 0
    assert len(list(Path("out").iterdir())) == 2


def test_missing_and_truncated_pictures_give_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    Image.effect_noise((64, 64), 90).save("half.jpg")
    Path("half.jpg").write_bytes(Path("half.jpg").read_bytes()[:900])
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", "gone.jpg", "half.jpg", "-o", "out"]) == 1
    missing, half = capsys.readouterr().err.splitlines()
    assert missing == "error: gone.jpg: no such file; add it or correct the path"
    assert half.startswith("error: half.jpg: cannot be read: image file is truncated")
    assert half.endswith("; replace or remove it")
    assert list(Path("out").iterdir()) == []


def test_a_picture_above_the_limit_is_refused_and_the_others_are_translated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small, large = picture("small.png", 20, 20), picture("large.png", 40, 30)
    arguments = [
        "translate",
        "--preset",
        "tiny",
        "--task",
        "colour",
        large,
        small,
        "-o",
        "out",
        "--max-megapixels",
        "0.001",
    ]
    assert cli.main(arguments) == 1
    assert only_line(capsys) == (
        "error: large.png: 40×30 pixels are 0.0012 megapixels, and the limit is 0.001; scale the picture down or "
        "raise --max-megapixels"
    )
    assert [path.name for path in Path("out").iterdir()] == ["small-colour.png"]


def test_a_picture_is_read_from_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Test a pipe as of a shell's `<(command)`."""
    os.mkfifo("pipe")
    content = Path(picture("a.png", 20, 20)).read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(content), daemon=True)
    writer.start()
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", "pipe", "-o", "out"]) == 0
    assert size("out/pipe-colour.png") == (20, 20)


def run_as_a_program(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `$PALIMPSEST …` in a shell."""
    around = {**os.environ, **variables, "PALIMPSEST": f"{sys.executable} -m palimpsest.cli"}
    return subprocess.run(["sh", "-c", command], env=around, capture_output=True, text=True, check=False)


def test_all_pictures_are_translated_in_an_ascii_locale_and_with_a_closed_pipe() -> None:
    names = f"{picture('a.png', 8, 8)} {picture('b.png', 8, 8)}"
    translate = f"$PALIMPSEST translate --preset tiny --task colour {names} -o"
    printed = run_as_a_program(f"{translate} ascii && {{ {translate} unread; }} | true", PYTHONIOENCODING="ascii")
    assert printed.stdout.splitlines() == [f"{name}.png \\u2192 ascii/{name}-colour.png" for name in "ab"]
    assert printed.stderr == ""
    for folder in ("ascii", "unread"):
        assert {path.name for path in Path(folder).iterdir()} == {"a-colour.png", "b-colour.png"}


def test_folders_and_patterns_stand_for_their_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("holiday/a.jpg", "holiday/below/b.png", "c.jpg", "d.jpg", "e.png", "[f].png"):
        picture(name, 20, 20)
    Path("holiday/notes.txt").write_text("sea")
    command = ["translate", "--preset", "tiny", "--task", "colour", "-o", "out"]
    assert cli.main([*command, "holiday", "?.jpg", "[f].png"]) == 0
    printed = capsys.readouterr().out.splitlines()
    names = ["holiday/a.jpg", "holiday/below/b.png", "c.jpg", "d.jpg", "[f].png"]
    assert [line.partition(" → ")[0] for line in printed] == names
    Path("empty").mkdir()
    for name, message in (("empty", "has no picture"), ("*.tif", "no picture matches the pattern")):
        assert cli.main([*command, name]) == 1
        assert message in only_line(capsys)


def test_results_are_overwritten_only_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["translate", "--preset", "tiny", "--task", "classes", picture("one.png", 20, 20), "-o", "out"]
    assert cli.main([*command, "--overlay"]) == 0
    result = Path("out/one-classes.png")
    result.write_bytes(b"precious")
    capsys.readouterr()
    assert cli.main([*command, "--overlay"]) == 1
    message = "error: out/one-classes.png and 1 more: exists; name another folder, or overwrite with --force"
    assert only_line(capsys) == message and result.read_bytes() == b"precious"
    assert cli.main([*command, "--force"]) == 0
    assert size(str(result)) == (20, 20)


def test_a_segmentation_has_labels_as_values_and_an_overlay_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    name = picture("one.png", 40, 30)
    command = ["translate", "--preset", "tiny", name, "-o", "out"]
    assert cli.main([*command, "--task", "classes", "--overlay"]) == 0
    labels = Image.open("out/one-classes.png")
    values = np.asarray(labels)
    assert labels.mode == "P" and set(np.unique(values)) <= {0, 1, 2}
    assert np.array_equal(np.asarray(labels.convert("RGB")), palette()[values])
    original, overlay = (np.asarray(Image.open(path)).astype(int) for path in (name, "out/one-classes-overlay.png"))
    assert np.array_equal(overlay[values == 0], original[values == 0])
    expected = (palette()[values] + original) / 2
    assert np.abs(overlay - expected)[values > 0].max(initial=0) <= 1
    capsys.readouterr()
    assert cli.main([*command, "--task", "colour", "--overlay"]) == 2
    assert only_line(capsys) == "error: --overlay: the task colour has no classes; remove it"
