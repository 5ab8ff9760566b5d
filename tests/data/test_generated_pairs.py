"""Generated pairs of scenes and their degradations."""

import typing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from palimpsest.data.degradations import DEGRADATIONS
from palimpsest.data.generated_pairs import generate_pairs
from palimpsest.data.paired import PairedFolder
from palimpsest.data.paired_settings import PairedDatasetSettings
from palimpsest.data.sources import provide

SIDE = 40


@pytest.fixture
def picture() -> Image.Image:
    """Return a picture of smooth colours with a bright square."""
    rows, columns = np.mgrid[0:SIDE, 0 : SIDE + 10] / SIDE
    pixels = np.stack([rows, columns / 2, 1 - rows], axis=-1)
    pixels[10:20, 10:20] = 1
    return Image.fromarray((255 * pixels).astype(np.uint8))


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_degradation_keeps_the_size_and_changes_the_picture(name: str, picture: Image.Image) -> None:
    before = np.asarray(picture).copy()
    first, again = (DEGRADATIONS[name](picture, np.random.default_rng(0)) for _ in range(2))
    assert first.size == picture.size and first.mode == "RGB"
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert not np.array_equal(np.asarray(first), before) and np.array_equal(np.asarray(picture), before)


def test_each_degradation_is_the_one_of_its_name(picture: Image.Image) -> None:
    pixels = np.asarray(picture).astype(float)
    made = {
        name: np.asarray(degrade(picture, np.random.default_rng(0))).astype(float)
        for name, degrade in DEGRADATIONS.items()
    }
    assert np.array_equal(made["inverted"], 255 - pixels)
    assert made["dark"] == pytest.approx(pixels / 4, abs=1)
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    assert np.asarray(DEGRADATIONS["noisy"](grey, np.random.default_rng(0))).mean() == pytest.approx(128, abs=0.3)
    assert (made["noisy"] - pixels)[1:5, 20:].std() == pytest.approx(38, rel=0.3)
    assert abs(np.diff(made["blurred"], axis=1)).max() < abs(np.diff(pixels, axis=1)).max()
    assert (made["covered"] == 128).all(axis=-1).sum() >= (SIDE // 5) ** 2
    assert made["coarse"][:3, :3] == pytest.approx(np.broadcast_to(pixels[:3, :3].mean((0, 1)), (3, 3, 3)), abs=1)
    flat, step = made["edges"][5, 5], made["edges"][15, 10]
    assert (flat > 200).all() and (step < 100).all()


def test_the_setting_lists_all_degradations() -> None:
    choices = typing.get_args(PairedDatasetSettings.model_fields["degradation"].annotation)[0]
    assert [*typing.get_args(choices)] == [*DEGRADATIONS]


def test_pairs_are_written_in_splits_and_read_by_the_reader(tmp_path: Path) -> None:
    settings = PairedDatasetSettings(
        format="paired", source="generated", side=SIDE, generate={"train": 3, "val": 2}, degradation="inverted"
    )
    provide(settings, tmp_path / "pairs", tmp_path / "pairs" / "manifest.json")
    reader = PairedFolder(tmp_path / "pairs", settings)
    assert [len(reader.records(split)) for split in ("train", "val")] == [3, 2]
    files = sorted((tmp_path / "pairs").rglob("*.png"))
    pairs = [(path, Path(str(path).replace("input", "target"))) for path in files if path.parent.name == "input"]
    for inputs, targets in pairs:
        assert np.array_equal(np.asarray(Image.open(inputs)), 255 - np.asarray(Image.open(targets)))
    assert len({targets.read_bytes() for _, targets in pairs}) == len(pairs)


def test_all_degradations_have_the_same_targets(tmp_path: Path) -> None:
    for name in ("noisy", "edges"):
        generate_pairs(tmp_path / name, {"train": 2}, SIDE, 0, degradation=name)
    for number in range(2):
        first, second = (tmp_path / name / f"train/target/{number:06d}.png" for name in ("noisy", "edges"))
        assert first.read_bytes() == second.read_bytes()


def test_the_noise_of_each_split_is_another(tmp_path: Path) -> None:
    generate_pairs(tmp_path, {"train": 4, "val": 4}, SIDE, 0, degradation="noisy")
    noise = [
        [
            np.asarray(Image.open(tmp_path / f"{split}/input/{number:06d}.png"), np.float64)[:SIDE, :SIDE]
            - np.asarray(Image.open(tmp_path / f"{split}/target/{number:06d}.png"), np.float64)[:SIDE, :SIDE]
            for number in range(4)
        ]
        for split in ("train", "val")
    ]
    correlations = [np.corrcoef(*(one.ravel() for one in pair))[0, 1] for pair in zip(*noise, strict=True)]
    assert max(map(abs, correlations)) < 0.2


@pytest.mark.parametrize(
    "given", [{"source": "generated", "generate": {"train": 1}}, {"source": "directory", "degradation": "dark"}]
)
def test_a_degradation_belongs_to_generated_pairs(given: dict[str, object], tmp_path: Path) -> None:
    root = {"root": tmp_path} if given["source"] == "directory" else {}
    with pytest.raises(ValidationError, match="degradation is a setting of source 'generated'"):
        PairedDatasetSettings.model_validate({"format": "paired", **given, **root})
