from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from palimpsest.data.halves import SAMPLE, fault_of_halves, sampled, seam
from palimpsest.data.pictures import Pixels, list_pictures, read_picture, resize_and_crop

REAL = Path(__file__).parents[2] / ".." / "shared" / "realdata"


def scene(seed: int, width: int = 128, height: int = 96) -> Pixels:
    """Return smooth patches of colour with noise, similar to a photograph."""
    random = np.random.default_rng(seed)
    patches = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    soft = patches.resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.array(soft) + random.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)


def grey(picture: Pixels) -> Pixels:
    return picture.mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8)


def test_a_plain_picture_has_no_seam_and_a_pair_has() -> None:
    plain = [scene(number, 256) for number in range(8)]
    joint = [np.hstack([scene(number), grey(scene(number))]) for number in range(8)]
    assert fault_of_halves(plain) == (
        f"8 files show no seam in the middle ({np.median([seam(file) for file in plain]):.1f} times the usual "
        "difference of columns, two pictures side by side at least 2)"
    )
    assert fault_of_halves(joint) is None


def test_flat_surroundings_and_small_pictures_are_ignored() -> None:
    edges = np.full((96, 256, 3), 255, np.uint8)
    edges[20:40, 30:60] = 0  # a drawing on white beside its photograph on white
    edges[20:40, 160:190] = 90
    assert seam(edges) is None and seam(scene(0, 18)) is None and fault_of_halves([edges]) is None


def test_files_taller_than_wide_are_no_pairs() -> None:
    assert fault_of_halves([scene(0, 96, 128)] * 3) == "3 of 3 files are taller than wide"
    assert fault_of_halves([scene(0, 96, 128), np.hstack([scene(0), scene(1)])]) is None


@pytest.mark.parametrize(("count", "step"), [(1, 1), (SAMPLE, 1), (SAMPLE + 1, 2), (SAMPLE * 10, 10)])
def test_a_sample_covers_all_files(count: int, step: int) -> None:
    assert list(sampled(list(range(count)))) == list(range(0, count, step))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
@pytest.mark.parametrize("folder", ["coco/train2017", "coco/val2017", "voc/VOCdevkit/VOC2012/JPEGImages"])
def test_real_photographs_are_refused_and_pairs_made_of_them_are_not(folder: str) -> None:
    pictures = [read_picture(path) for path in sampled(list_pictures(REAL / folder))]
    fault = str(fault_of_halves(pictures))
    assert "no seam in the middle" in fault or "taller than wide" in fault
    assert "no seam" in str(fault_of_halves(picture for picture in pictures if picture.shape[1] > picture.shape[0]))
    halves = [resize_and_crop(picture, 128, labels=False) for picture in pictures]
    blurred = [np.array(Image.fromarray(half).filter(ImageFilter.GaussianBlur(2))) for half in halves]
    for targets in (blurred, [grey(half) for half in halves], halves[1:] + halves[:1]):
        assert fault_of_halves(np.hstack(pair) for pair in zip(halves, targets, strict=True)) is None


@pytest.mark.parametrize("border", [2, 8, 20])
@pytest.mark.parametrize("level", [0, 255])
def test_a_border_of_both_halves_is_no_evidence(border: int, level: int) -> None:
    def framed(seed: int) -> Pixels:
        inside = scene(seed, 128 - 2 * border, 96 - 2 * border)
        return np.pad(inside, ((border, border), (border, border), (0, 0)), constant_values=level)

    assert fault_of_halves(np.hstack([framed(number), grey(framed(number))]) for number in range(8)) is None


def test_a_border_blurred_by_jpeg_is_no_evidence() -> None:
    picture = scene(0, 256)
    picture[:, 126:130] = 128 + np.random.default_rng(0).integers(-2, 3, (96, 4, 1))
    assert seam(picture) is None


def test_half_of_the_files_and_at_least_five_decide() -> None:
    flat, plain = np.full((96, 256, 3), 255, np.uint8), [scene(number, 256) for number in range(5)]
    assert fault_of_halves(plain + [flat] * 5) is not None
    assert fault_of_halves(plain + [flat] * 6) is None
    assert fault_of_halves([*plain[:4], flat]) is None and fault_of_halves(plain[:4]) is not None
