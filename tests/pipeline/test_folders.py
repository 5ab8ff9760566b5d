"""A user's folder of pairs in the stages `raw` and `prepare`."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.layout import Layout
from tests.pipeline.test_bad_input import refused, run

PREPARED = Layout("mine").prepared("edges")


def settings(**dataset: Any) -> None:
    """Write `params.yaml` with a task of pairs from `pairs`."""
    pairs = {"format": "paired", "source": "directory", "root": "pairs", **dataset}
    defaults = {
        "methods": ["scratch"],
        "sequence": ["edges"],
        "pictures": {"size": 32, "crop": 32, "dev_share": 0},
        "datasets": {"pairs": pairs},
        "tasks": {"edges": {"kind": "paired", "data": "pairs"}},
    }
    Path("params.yaml").write_text(
        yaml.safe_dump({"preset": "mine", "defaults": defaults, "presets": {"mine": {}}})
    )


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a new folder."""
    monkeypatch.chdir(tmp_path)
    settings()


def draw(path: str, seed: int, size: tuple[int, int] = (48, 32)) -> None:
    """Write a picture of noise."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def pairs(inputs: str, targets: str, count: int = 5, first: int = 0) -> None:
    """Write pairs into two folders."""
    for number in range(first, first + count):
        draw(f"pairs/{inputs}/{number}.png", number)
        draw(f"pairs/{targets}/{number}.png", 1000 + number)


def prepare() -> Prepared:
    """Run both stages."""
    run("raw", "--dataset", "pairs")
    run("prepare", "--task", "edges")
    return Prepared.open(PREPARED)


def log() -> str:
    return Path("logs/prepare.log").read_text("utf-8")


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (("trainA", "trainB"), ("valA", "valB")),
        (("A/train", "B/train"), ("A/val", "B/val")),
        (("train/inputs", "train/targets"), ("val/inputs", "val/targets")),
    ],
)
def test_layouts_of_pix2pix_are_read(train: tuple[str, str], val: tuple[str, str]) -> None:
    pairs(*train, count=4)
    pairs(*val, count=2, first=4)
    after = prepare()
    assert [after.splits.count(split) for split in ("train", "val")] == [4, 2]
    assert after.sources[0] == f"{train[0]}/0.png"
    assert after.info["pairs"]["train"]["layout"] == f"inputs in {train[0]}, targets in {train[1]}"
    assert f"train: inputs in {train[0]}, targets in {train[1]}" in log()


def test_five_pairs_without_splits_are_enough() -> None:
    pairs("Input", "Target")
    after = prepare()
    assert [after.splits.count(split) for split in ("train", "val")] == [4, 1]


def without_val() -> None:
    pairs("trainA", "trainB")
    pairs("testA", "testB", first=5)


def all_broken() -> None:
    pairs("trainA", "trainB", 8)
    for path in Path("pairs/trainA").iterdir():
        path.write_bytes(b"")


def plain() -> None:
    for number in range(5):
        draw(f"pairs/train/{number}.png", number)


def several() -> None:
    for layout in ("{}A {}B", "{}/A {}/B"):
        pairs(*layout.format("train", "train").split())


REFUSED: dict[str, tuple[Callable[[], None], str]] = {
    "unknown folders": (
        lambda: pairs("photos", "sketches"),
        "pairs: photos/0.png and sketches/0.png have one name, like input and target of an unknown layout",
    ),
    "plain pictures": (
        plain,
        "pairs/train: 5 files show no seam in the middle (",
    ),
    "several layouts": (
        several,
        "pairs: several layouts of pairs (train/A, train/B, trainA, trainB); keep one and move the others",
    ),
    "tests and no val": (
        without_val,
        "pairs: no folder of the split 'val', only of train, test; add one, or set tasks.NAME.splits to {val",
    ),
    "one pair": (
        lambda: pairs("input", "target", 1),
        "pairs: only one usable pair, input/0.png, but train and val need one each; add pairs, or folders train",
    ),
    "all broken": (
        lambda: (pairs("trainA", "trainB", 8), [path.write_bytes(b"") for path in Path("pairs/trainA").iterdir()])[
            0
        ],
        "pairs: train from 'train': 8 of 8 pictures are broken, and the limit is 1.0%; correct them, or raise",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_pairs_give_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = REFUSED[name]
    make()
    run("raw", "--dataset", "pairs")
    assert refused(capsys, "prepare", "--task", "edges").startswith(f"error: {message}")


def test_the_setting_layout_overrides_the_check_of_halves() -> None:
    for number in range(12):
        draw(f"pairs/{number}.png", number, (64, 32))
    settings(layout="side-by-side")
    after = prepare()
    assert len(after.picture) == 12 and after.info["pairs"]["val"]["layout"] == "both halves in each file of pairs"


def test_links_to_parent_folders_and_broken_links_do_not_stop_a_run() -> None:
    pairs("train/input", "train/target", 12)
    pairs("val/input", "val/target", 3, first=20)
    for folder in ("train/input", "train/target", "val"):
        Path("pairs", folder, "again").symlink_to("../..")
    for role in ("input", "target"):
        shutil.copy(f"pairs/train/{role}/3.png", f"pairs/val/{role}/20.png")
    Path("pairs/README.png").symlink_to("nowhere.png")
    os.mkfifo("pairs/train/input/pipe.png")
    after = prepare()
    assert [after.splits.count(split) for split in ("train", "val")] == [12, 2]
    assert "val: val/input/20.png left out, copy: the same pair as train/input/3.png in train" in log()


def test_the_range_of_targets_of_16_bits_is_set_and_logged() -> None:
    for split, number in (("train", 0), ("train", 1), ("val", 2)):
        draw(f"pairs/{split}/input/{number}.png", number)
        Path(f"pairs/{split}/target").mkdir(exist_ok=True)
        depth = np.full((32, 48), 2000 + 1000 * number, np.uint16)
        Image.fromarray(depth).save(f"pairs/{split}/target/{number}.png")
    full_range = prepare()
    assert full_range.target is not None and full_range.target.max() == 16  # 4000 of 65535
    assert "train: targets: 2 of 16 bits and more, values 2000 to 3000; 0 to 65535 become 0 to 255 (the " in log()
    settings(target_range=[0, 4000])
    ranged = prepare()
    assert ranged.target is not None and ranged.target[:, 0, 0, 0].tolist() == [128, 191, 255]
    assert "0 to 4000 become 0 to 255 (by target_range), pixels clipped: 0" in log()
    assert ranged.info["pairs"]["train"]["target"]["highest"] == 3000


def test_a_home_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pairs("input", "target")
    settings(root="~/pairs")
    assert len(prepare().picture) == 5
