"""Odd pictures: each gives a result of its size, or one line that names the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palimpsest import cli
from tests.odd_pictures import LONG, Odd, brightness, escaped, odd_pictures, scene

__all__ = ["odd_pictures"]

TINY = ["--preset", "tiny", "-o", "out"]


def check_lines(stderr: str, faulty: list[Odd]) -> None:
    """Check that stderr has one line per faulty picture, which names it and the fault, and no other line."""
    lines = stderr.splitlines()
    assert len(lines) == len(faulty), stderr
    for odd in faulty:
        (line,) = [line for line in lines if line.startswith(f"error: {escaped(odd.name)}: ")]
        assert odd.fault in line and "unexpected" not in line, line
        assert ";" in line, f"no advice: {line}"


def result_of(odd: Odd, tasks: str) -> Path:
    return Path("out") / f"{Path(odd.name).stem}-{tasks}.png"


def run(odd_pictures: list[Odd], *arguments: str) -> int:
    return cli.main([*arguments, *TINY, "--", *(odd.name for odd in odd_pictures)])


@pytest.fixture
def sound(odd_pictures: list[Odd]) -> list[Odd]:
    return [odd for odd in odd_pictures if odd.shown is not None]


@pytest.fixture
def faulty(odd_pictures: list[Odd]) -> list[Odd]:
    return [odd for odd in odd_pictures if odd.shown is None]


def test_there_are_thirty_pictures_and_more(sound: list[Odd], faulty: list[Odd]) -> None:
    assert len(sound) >= 30 and len(faulty) >= 15
    assert len({Path(odd.name).stem for odd in sound}) > 25


def test_translate_keeps_size_and_brightness(
    odd_pictures: list[Odd], sound: list[Odd], faulty: list[Odd], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(odd_pictures, "translate", "--task", "colour", "--force") == 1
    printed = capfd.readouterr()
    check_lines(printed.err, faulty)
    results = dict(line.split(" → ") for line in printed.out.replace("two\nlines", "two lines").splitlines())
    assert len(results) == len(sound)
    for odd in sound:
        path = results[odd.name.replace("\n", " ")].replace("two lines", "two\nlines")
        with Image.open(path) as result:
            assert odd.shown is not None and (result.mode, result.size[::-1]) == ("RGB", odd.shown.shape[:2])
            difference = np.abs(brightness(np.asarray(result)) - brightness(odd.shown)).mean()
        assert difference <= odd.tolerance + 1, odd.name
    assert len(list(Path("out").iterdir())) == len(sound)


def test_classes_have_an_overlay_of_the_same_picture(
    odd_pictures: list[Odd], sound: list[Odd], faulty: list[Odd], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(odd_pictures, "translate", "--task", "classes", "--overlay") == 1
    printed = capfd.readouterr()
    check_lines(printed.err, faulty)
    assert len(list(Path("out").iterdir())) == 2 * len(sound)
    for odd in sound:
        if Path(odd.name).stem in ("palette", "print", "plain", "moving", "deep", "turned-6", Path(LONG).stem):
            continue  # several pictures have this stem, and numbers distinguish their results; or it is shortened
        path = result_of(odd, "classes")
        overlay = np.asarray(Image.open(path.with_stem(f"{path.stem}-overlay"))).astype(int)
        labels = np.asarray(Image.open(path))
        assert odd.shown is not None and labels.shape == odd.shown.shape[:2] == overlay.shape[:2]
        assert set(np.unique(labels)) <= {0, 1, 2}
        background = labels == 0
        difference = np.abs(brightness(overlay) - brightness(odd.shown))[background]
        assert not background.any() or difference.mean() <= odd.tolerance + 1, odd.name


@pytest.mark.parametrize("how", ["two-stage", "blend"])
def test_compose_gives_pictures_of_the_same_size(
    how: str, odd_pictures: list[Odd], sound: list[Odd], faulty: list[Odd], capfd: pytest.CaptureFixture[str]
) -> None:
    pair = "colour,painted" if how == "two-stage" else "painted,painted"
    assert run(odd_pictures, "compose", "--tasks", pair, "--how", how) == 1
    check_lines(capfd.readouterr().err, faulty)
    sizes = sorted(Image.open(path).size[::-1] for path in Path("out").iterdir())
    assert sizes == sorted(odd.shown.shape[:2] for odd in sound if odd.shown is not None)


def test_a_blend_needs_one_readable_picture(faulty: list[Odd], capfd: pytest.CaptureFixture[str]) -> None:
    faulty = [odd for odd in faulty if odd.name in ("half.jpg", "text.png", "nan.tif")]
    assert run(faulty, "compose", "--tasks", "painted,painted", "--how", "blend") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {faulty[0].name} and 2 more: cannot be read; ") and not Path("out").exists()


def test_a_folder_stands_for_all_its_pictures(
    odd_pictures: list[Odd], sound: list[Odd], capfd: pytest.CaptureFixture[str]
) -> None:
    for odd in sound:
        Path(odd.name).rename(Path("folder.png") / odd.name)
    assert cli.main(["translate", "--task", "colour", *TINY, "folder.png"]) == 0
    assert capfd.readouterr().err == ""
    assert len(list(Path("out").iterdir())) == len(sound)


def measure(folder: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Evaluate the colorization on a folder of pictures; return the exit status and what was printed."""
    options = ["--preset", "tiny", "--task", "colour", "--format", "pictures", "--split", "train", "--data", folder]
    status = cli.main(["evaluate", *options])
    printed = capfd.readouterr()
    return status, printed.out, printed.err


def test_evaluate_measures_sound_pictures(sound: list[Odd], capfd: pytest.CaptureFixture[str]) -> None:
    Path("sound").mkdir()
    listed = 0
    for odd in sound:
        assert odd.shown is not None
        coloured = np.ptp(odd.shown.astype(int), axis=2).max() > 4  # grey pictures have no colours to learn
        listed += coloured
        Path(odd.name).rename(Path("sound") / odd.name)
    status, printed, problems = measure("sound", capfd)
    assert (status, problems) == (0, "")
    (first, *_), grey = printed.splitlines(), len(sound) - listed
    assert first == f"colour: {listed} pictures (all, since the data have no splits; {grey} broken or unsuitable)"
    values = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()[1:]}
    assert 0 < values["ssim"] <= 1 and 0 < values["ciede2000"] < 100


def test_evaluate_names_a_faulty_picture(faulty: list[Odd], capfd: pytest.CaptureFixture[str]) -> None:
    named = 0
    for number, odd in enumerate(faulty):
        path = Path(odd.name)
        if path.suffix == ".svg" or len(odd.name) > 99 or not (path.is_file() or path.is_symlink()):
            continue  # no file, or none that a data set lists
        folder = Path(f"faulty-{number}")
        folder.mkdir()
        path.rename(folder / path.name)
        Image.fromarray(scene()).save(folder / "sound.jpg")
        status, printed, problems = measure(str(folder), capfd)
        assert (status, printed) == (1, "")
        (line,) = problems.splitlines()
        assert (
            line.startswith("error: ") and f"{folder / path.name}: " in line and odd.fault in line.replace("/", "")
        )
        named += 1
    assert named >= 15


@pytest.mark.slow
def test_a_picture_of_24_megapixels(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pixels = scene(6000, 4000)
    Image.fromarray(pixels).save("large.jpg", quality=95)
    assert cli.main(["translate", "--task", "colour", *TINY, "large.jpg"]) == 0
    assert capfd.readouterr().err == ""
    with Image.open("out/large-colour.png") as result:
        assert result.size == (6000, 4000)
        assert np.abs(brightness(np.asarray(result)) - brightness(pixels)).mean() < 3
