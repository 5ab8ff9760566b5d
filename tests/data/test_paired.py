import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.paired import Halves, PairedFolder
from palimpsest.data.pictures import Record
from palimpsest.errors import DataError


def save(path: Path, colour: str | int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)


def joint(path: Path, width: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pair = Image.new("RGB", (width, 4), "red")
    pair.paste("blue", (width // 2, 0, width, 4))
    pair.save(path)


def colour(pixels: np.ndarray) -> list[int]:
    (only,) = np.unique(pixels.reshape(-1, 3), axis=0).tolist()
    return list(only)


def test_folders_of_inputs_and_targets(tmp_path: Path) -> None:
    save(tmp_path / "train/input/an ä.png", "red")
    save(tmp_path / "train/target/an ä.bmp", 90)
    save(tmp_path / "val/input/b.png", "red")
    save(tmp_path / "val/target/b.png", "blue")
    (tmp_path / "train/input/._an ä.png").touch()
    (tmp_path / "train/target/Thumbs.db").touch()
    data = PairedFolder(tmp_path)
    (record,) = data.records("train")
    assert record.source == "train/input/an ä.png" and record.fault is None
    assert [colour(side) for side in data.pair(record)] == [[255, 0, 0], [90, 90, 90]]
    assert [record.source for record in data.records("val")] == ["val/input/b.png"]


def test_composed_and_decomposed_accents_are_equal(tmp_path: Path) -> None:
    save(tmp_path / "train/input/\u00e4.png", "red")
    save(tmp_path / "train/target/a\u0308.png", "blue")
    data = PairedFolder(tmp_path)
    (record,) = data.records("train")
    assert colour(data.pair(record)[1]) == [0, 0, 255]


def test_half_pairs_and_duplicate_names_are_faults(tmp_path: Path) -> None:
    for name in ("input/a.png", "target/b.png", "input/c.png", "input/c.bmp", "target/c.png"):
        save(tmp_path / "train" / name, "red")
    faults = [record.fault for record in PairedFolder(tmp_path).records("train")]
    assert faults == [
        "no target has this name",
        "no input has this name",
        "one name for several pictures: c.bmp, c.png",
    ]


@pytest.mark.parametrize("halves", ["input-left", "target-left"])
def test_both_halves_in_one_file(tmp_path: Path, halves: str) -> None:
    joint(tmp_path / "val" / "1.png")
    data = PairedFolder(tmp_path, "input-left" if halves == "input-left" else "target-left")
    (record,) = data.records("val")
    sides = data.pair(record)
    colours = [colour(side) for side in sides]
    assert colours == ([[255, 0, 0], [0, 0, 255]] if halves == "input-left" else [[0, 0, 255], [255, 0, 0]])
    assert [side.shape for side in sides] == [(4, 4, 3)] * 2


def test_an_odd_width_has_no_halves(tmp_path: Path) -> None:
    joint(tmp_path / "train" / "odd.png", width=7)
    data = PairedFolder(tmp_path)
    with pytest.raises(DataError, match=r"odd\.png: a width of 7 pixels"):
        data.pair(data.records("train")[0])


def test_without_splits_a_tenth_of_the_names_is_always_val(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.png").touch()
    before = {record.source for record in PairedFolder(tmp_path).records("val")}
    train = {record.source for record in PairedFolder(tmp_path).records("train")}
    assert not before & train and len(before | train) == 300 and 15 <= len(before) <= 45
    for number in range(300, 400):
        (tmp_path / f"{number}.png").touch()
    after = {record.source for record in PairedFolder(tmp_path).records("val")}
    assert before <= after and not after & train


@pytest.mark.parametrize(("number", "val"), [(2, 1), (20, 2), (40, 4), (300, 30)])
def test_exactly_a_tenth_is_val_on_request(tmp_path: Path, number: int, val: int) -> None:
    for index in range(number):
        (tmp_path / f"{index}.png").touch()
    data = PairedFolder(tmp_path, exact=True)
    records = {split: {record.source for record in data.records(split)} for split in ("train", "val")}
    assert len(records["val"]) == val and len(records["train"] | records["val"]) == number
    assert not records["train"] & records["val"]


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        PairedFolder(tmp_path / "nowhere")
    save(tmp_path / "train/input/a.png", "red")
    data = PairedFolder(tmp_path)
    for split, message in (
        ("val", "no folder of the split 'val', only of train; add one$"),
        ("train", "train/input: has no folder of targets beside it; add one of the same form"),
        ("unlabeled", "unknown split 'unlabeled' in tasks.NAME.splits; choose from train, val, test"),
    ):
        with pytest.raises(DataError, match=message):
            data.records(split)


def test_val_of_few_pairs_is_the_pair_with_the_smallest_hash(tmp_path: Path) -> None:
    """Test hashes: SHA-256 of d begins with 18ac, of f with 252f, others are higher; a tenth ends at 1999."""
    for name in "abcef":
        save(tmp_path / "input" / f"{name}.png", "red")
        save(tmp_path / "target" / f"{name}.png", "blue")
    data = PairedFolder(tmp_path)
    assert [record.key for record in data.records("val")] == ["f"]
    assert [record.key for record in data.records("train")] == ["a", "b", "c", "e"]
    for side in ("input", "target"):
        save(tmp_path / side / "d.png", "red")
    assert [record.key for record in PairedFolder(tmp_path).records("val")] == ["d"]


def test_a_half_pair_is_never_the_only_one_of_val(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "input" / f"{name}.png", "red")
        save(tmp_path / "target" / f"{name}.png", "blue")
    save(tmp_path / "input" / "d.png", "red")  # its hash belongs to val
    data = PairedFolder(tmp_path)
    assert [(record.key, record.fault is None) for record in data.records("val")] == [("b", True), ("d", False)]
    assert [record.key for record in data.records("train")] == ["a"]


def test_if_all_names_hash_to_val_one_is_train(tmp_path: Path) -> None:
    names = [name for name in map(str, range(60)) if hashlib.sha256(name.encode()).hexdigest() < "1999"][:3]
    for name in names:
        save(tmp_path / "input" / f"{name}.png", "red")
        save(tmp_path / "target" / f"{name}.png", "blue")
    data = PairedFolder(tmp_path)
    assert len(data.records("train")) == 1 and len(data.records("val")) == 2


def test_a_single_pair_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "input/a.png", "red")
    save(tmp_path / "target/a.png", "blue")
    message = (
        r"only one usable pair, input/a\.png, but train and val need one each; add pairs, or folders train and val"
    )
    with pytest.raises(DataError, match=message):
        PairedFolder(tmp_path).records("train")


def test_a_test_split_can_be_named_and_is_suggested(tmp_path: Path) -> None:
    for split in ("train", "testing"):
        for number in range(2):
            joint(tmp_path / split / f"{number}.png")
    data = PairedFolder(tmp_path)
    assert [record.source for record in data.records("test")] == ["testing/0.png", "testing/1.png"]
    message = "no folder of the split 'val', only of train, test; add one, or set tasks.NAME.splits to {val: test}$"
    with pytest.raises(DataError, match=message):
        data.records("val")


def test_a_test_split_beside_pairs_without_splits_is_left_out(tmp_path: Path) -> None:
    for number in range(4):
        joint(tmp_path / f"{number}.png")
        joint(tmp_path / "test" / f"{number + 4}.png")
    data = PairedFolder(tmp_path)
    dealt = [record.source for split in ("train", "val") for record in data.records(split)]
    assert sorted(dealt) == ["0.png", "1.png", "2.png", "3.png"] and len(data.records("test")) == 4


@pytest.mark.parametrize(
    ("first", "second"),
    [("hazy/1.png", "clear/1.png"), ("hazy/1.jpg", "clear/1.png"), ("1.jpg", "1.png"), ("a/x/1.png", "a/y/1.png")],
)
def test_equal_names_in_an_unknown_layout_are_refused(tmp_path: Path, first: str, second: str) -> None:
    joint(tmp_path / first)
    joint(tmp_path / second)
    names = f"({first} and {second}|{second} and {first})"
    message = rf"{names} have one name, .*set datasets\.NAME\.layout to side-by-side.*known layouts are "
    with pytest.raises(DataError, match=message):
        PairedFolder(tmp_path).records("train")
    data = PairedFolder(tmp_path, layout="side-by-side")
    assert len(data.records("train") + data.records("val")) == 2


def test_subfolders_of_different_names_are_one_split(tmp_path: Path) -> None:
    for number in range(4):
        joint(tmp_path / "train" / ("shoes", "bags")[number % 2] / f"{number}.png")
    assert len(PairedFolder(tmp_path).records("train")) == 4


@pytest.mark.parametrize(
    ("first", "second"),
    [("{}_A", "{}_B"), ("{}-input", "{}-target"), ("{} in", "{} out"), ("x.{}", "y.{}")],
)
def test_names_that_denote_input_and_target_are_refused(tmp_path: Path, first: str, second: str) -> None:
    for number in range(3):
        for form in (first, second):
            joint(tmp_path / f"{form.format(number)}.png")
    message = f"names such as {first.format(0)} and {second.format(0)} denote input and target; move them into"
    with pytest.raises(DataError, match=re.escape(message)):
        PairedFolder(tmp_path).records("train")


def test_few_names_of_that_form_are_accepted(tmp_path: Path) -> None:
    for name in ("house_a", "house_b", "tower_a"):
        joint(tmp_path / "train" / f"{name}.png")
    assert len(PairedFolder(tmp_path).records("train")) == 3


def plain(path: Path, seed: int, size: tuple[int, int] = (96, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((96, 64), r"4 files show no seam in the middle \(1\.0 times"),
        ((64, 96), "4 of 4 files are taller than wide"),
    ],
)
def test_plain_pictures_are_no_pairs(tmp_path: Path, size: tuple[int, int], message: str) -> None:
    for number in range(4):
        plain(tmp_path / "train" / f"{number}.png", number, size)
    ends = ", so the files are probably not pairs; put inputs and targets into folders"
    with pytest.raises(DataError, match=f"train: {message}.*{ends}"):
        PairedFolder(tmp_path).records("train")
    assert len(PairedFolder(tmp_path, layout="side-by-side").records("train")) == 4


def test_a_single_file_taller_than_wide_is_broken(tmp_path: Path) -> None:
    for number in range(3):
        joint(tmp_path / "train" / f"{number}.png")
    plain(tmp_path / "train" / "3.png", 3, (4, 8))
    data = PairedFolder(tmp_path)
    with pytest.raises(DataError, match=r"3\.png: 4×8 pixels, taller than wide, cannot be two halves side by "):
        data.pair(data.records("train")[3])


def turned(path: Path, size: tuple[int, int], orientation: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    Image.new("RGB", size, "red").save(path, exif=exif)


@pytest.mark.parametrize(
    ("size", "orientation", "target_size", "target_orientation", "outcome"),
    [
        ((8, 4), 6, (4, 8), 1, "fits"),  # the target was made from the picture as shown
        ((8, 4), 6, (16, 8), 6, "fits"),
        ((8, 4), 6, (8, 4), 1, "only without rotation"),
        ((8, 4), 1, (8, 4), 8, "only without rotation"),
        ((8, 4), 3, (8, 4), 1, "noted"),
        ((8, 8), 6, (8, 8), 1, "noted"),
        ((8, 4), 6, (8, 4), 8, "noted"),
        ((8, 4), 6, (9, 9), 1, "shape"),
    ],
)
def test_an_orientation_of_a_single_picture(
    tmp_path: Path,
    size: tuple[int, int],
    orientation: int,
    target_size: tuple[int, int],
    target_orientation: int,
    outcome: str,
) -> None:
    turned(tmp_path / "train/input/a.jpg", size, orientation)
    turned(tmp_path / "train/target/a.jpg", target_size, target_orientation)
    data = PairedFolder(tmp_path)
    (record,) = data.records("train")
    if outcome in ("only without rotation", "shape"):
        message = (
            rf"a\.jpg: EXIF orientation {orientation}, its target .*jpg has {target_orientation}, and the shapes "
            "fit only without rotation; remove the orientations, or make them equal"
            if outcome != "shape"
            else r"a\.jpg: 4×8 pixels, but its target .*/target/a\.jpg has 9×9"
        )
        with pytest.raises(DataError, match=message):
            data.pair(record)
        return
    data.pair(record)
    findings = data.take_findings()
    assert findings.info.get("orientation_in_one") == (["train/input/a.jpg"] if outcome == "noted" else None)
    if outcome == "noted":
        assert findings.lines[-1] == (
            "pairs in which only one picture has an EXIF orientation, and whose shapes do not show whether it is "
            "correct: 1; look at train/input/a.jpg"
        )


def test_an_orientation_that_swaps_halves_is_logged(tmp_path: Path) -> None:
    turned(tmp_path / "train/a.jpg", (16, 8), 3)
    data = PairedFolder(tmp_path)
    data.pair(data.records("train")[0])
    assert data.take_findings().info["orientation_in_one"] == ["train/a.jpg"]
    assert "orientation_in_one" not in data.take_findings().info


def test_ranges_apply_to_a_role_and_are_measured_for_each_split(tmp_path: Path) -> None:
    for split, value in (("train", 4000), ("val", 12000)):
        save(tmp_path / split / "input" / "a.png", "red")
        (tmp_path / split / "target").mkdir(parents=True)
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / split / "target" / "a.png")
    data = PairedFolder(tmp_path, target_range=(0, 10000))
    results = {}
    for split in ("train", "val"):
        (record,) = data.records(split)
        results[split] = colour(data.pair(record)[1])[0], data.take_findings()
    assert results["train"][0] == 102 and results["val"][0] == 255
    assert results["val"][1].lines == [
        "inputs in val/input, targets in val/target",
        "targets: 1 of 16 bits and more, values 12000 to 12000; 0 to 10000 become 0 to 255 (by "
        "target_range), pixels clipped: 16",
    ]
    assert results["train"][1].info["target"]["highest"] == 4000  # type: ignore[index]


def test_pairs_of_linked_files_count_once_and_one_input_may_have_two_targets(tmp_path: Path) -> None:
    for side in ("input", "target"):
        save(tmp_path / "train" / side / "a.png", "red")
        (tmp_path / "train" / side / "again").symlink_to("..")
        (tmp_path / "train" / side / "b.png").symlink_to("a.png")
    (tmp_path / "train/input/c.png").symlink_to("a.png")
    save(tmp_path / "train/target/c.png", "blue")
    assert [record.key for record in PairedFolder(tmp_path).records("train")] == ["a", "b", "c"]


def test_files_without_suffix_keep_their_full_name(tmp_path: Path) -> None:
    for name in ("v 1.2", "v 1.3"):
        for side in ("input", "target"):
            save(tmp_path / "train" / side / f"{name}.png", "red")
        (tmp_path / "train/target" / f"{name}.png").rename(tmp_path / "train/target" / name)
    records = PairedFolder(tmp_path).records("train")
    assert [(record.key, record.fault) for record in records] == [("v 1.2", None), ("v 1.3", None)]


@pytest.mark.parametrize("side", ["input-left", "target-left"])
@pytest.mark.parametrize("orientation", [1, 3])
def test_each_half_of_a_side_by_side_file_has_a_range(tmp_path: Path, side: Halves, orientation: int) -> None:
    values = np.repeat(np.array([[0, 2000, 0, 6000]], np.uint16), 2, axis=0)
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(values if orientation == 1 else values[::-1, ::-1]).save(tmp_path / "a.png", exif=exif)
    ranges = {"input_range": (0, 2000), "target_range": (0, 8000)}
    if side == "target-left":
        ranges = {"input_range": (0, 8000), "target_range": (0, 2000)}
    data = PairedFolder(tmp_path, side, layout="side-by-side", **ranges)  # type: ignore[arg-type]
    picture, target = data.pair(Record("a.png", tmp_path / "a.png", "a"))
    left, right = (picture, target) if side == "input-left" else (target, picture)
    assert left[0, :, 0].tolist() == [0, 255] and right[0, :, 0].tolist() == [0, 191]
    lines = data.take_findings().lines
    assert any("inputs: 1 of 16 bits" in line for line in lines)
    assert any("targets: 1 of 16 bits" in line and "(by target_range)" in line for line in lines)


def test_a_range_is_refused_for_side_by_side_files_of_8_bits(tmp_path: Path) -> None:
    joint(tmp_path / "a.png")
    data = PairedFolder(tmp_path, layout="side-by-side", target_range=(0, 3000))
    with pytest.raises(DataError, match=r"8 bits per channel .*, but target_range is for grey pictures of 16 bits"):
        data.pair(Record("a.png", tmp_path / "a.png", "a"))


def test_a_broken_link_without_a_suffix_is_a_missing_picture(tmp_path: Path) -> None:
    for side in ("A", "B"):
        save(tmp_path / "train" / side / "1.png", "red")
        (tmp_path / "train" / side / "3").symlink_to("/nowhere/3")
    data = PairedFolder(tmp_path)
    pairs = data.records("train")
    assert [record.key for record in pairs] == ["1", "3"]
    with pytest.raises(DataError, match=r"3: no such file \(a link to /nowhere/3\)"):
        data.pair(pairs[1])


def test_splits_beside_other_folders_are_used_and_the_log_names_the_others(tmp_path: Path) -> None:
    for role in ("images", "labels"):
        for name in ("train2017/a.png", "val2017/b.png", "extra/c.png", "example.png"):
            save(tmp_path / role / name, "red")
    data = PairedFolder(tmp_path)
    paths = [record.source for split in ("train", "val") for record in data.records(split)]
    assert paths == ["images/train2017/a.png", "images/val2017/b.png"]
    assert "images: ignored beside the splits train2017, val2017: 2 (extra, example.png)" in (
        data.take_findings().lines
    )
