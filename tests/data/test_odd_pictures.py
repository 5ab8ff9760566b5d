"""Odd pictures, read as data sets read them."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from palimpsest.data.pictures import (
    picture_pixels,
    read_frame,
    read_grey,
    read_picture,
    read_scaled,
    read_shown,
    resize_and_crop,
)
from palimpsest.errors import DataError
from tests.odd_pictures import ORIENTATION, Odd, brightness, odd_pictures

__all__ = ["odd_pictures"]


def test_sound_pictures_are_read_in_every_way(odd_pictures: list[Odd]) -> None:
    for odd in odd_pictures:
        if odd.shown is None:
            continue
        size = odd.shown.shape[:2]
        assert read_frame(odd.name).shown == size, odd.name
        whole, frame = read_shown(odd.name)
        assert frame.shown == size and whole.shape == odd.shown.shape and whole.dtype == np.uint8
        assert np.abs(brightness(whole) - brightness(odd.shown)).mean() <= odd.tolerance, odd.name
        square, frame = read_scaled(odd.name, 32)
        expected = resize_and_crop(read_picture(odd.name), 32, labels=False)
        assert frame.shown == size and square.shape == (32, 32, 3)
        assert np.abs(square.astype(int) - expected).mean() <= 1, odd.name


@pytest.mark.filterwarnings("ignore::UserWarning")  # of damaged metadata, when the test opens a file
def test_a_picture_of_pillow_has_the_pixels_of_its_file(odd_pictures: list[Odd]) -> None:
    compared = set()
    for odd in odd_pictures:
        with suppress(OSError), Image.open(odd.name) as picture:
            if odd.shown is None:
                with pytest.raises(DataError, match=r"^the picture: .*;"):
                    picture_pixels(picture, "the picture")
                continue
            assert np.array_equal(picture_pixels(picture, "the picture"), read_picture(odd.name)), odd.name
            compared.add(odd.name)
    assert {"deep.png", "float.tif", "alpha.png", "turned-6.jpg", "turned-6.tif", "print.jpg"} <= compared


@pytest.mark.parametrize("mode", ["L", "I;16", "CMYK"])
def test_a_turned_tiff_has_the_same_pixels_from_its_path(mode: str, tmp_path: Path) -> None:
    exif, path = Image.Exif(), tmp_path / "turned.tif"
    exif[ORIENTATION] = 6
    values = np.arange(60 * 44).reshape(44, 60)
    stored = {
        "L": Image.fromarray((values % 256).astype(np.uint8)),
        "I;16": Image.fromarray(values.astype(np.uint16) * 20),
        "CMYK": Image.fromarray(np.dstack([values.astype(np.uint8)] * 4), "CMYK"),
    }
    stored[mode].save(path, exif=exif)
    with Image.open(path) as picture:
        assert np.array_equal(picture_pixels(picture, "the picture"), read_picture(path))
        assert Path(picture.filename) == path


def test_unsigned_numbers_of_32_bits_are_not_read_as_negative(tmp_path: Path) -> None:
    numbers = np.array([[0, 5, 2**31, 2**32 - 1], [7, 65535, 3, 9]], np.uint32)
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, numbers)
    assert np.array_equal(read_grey(path), numbers)
    with pytest.raises(DataError, match=r"from 0 to 4\.29497e\+09 exceed the range 0 to 65535; scale them$"):
        read_picture(path)
    tifffile.imwrite(path, numbers // 65537)
    assert read_picture(path)[..., 0].tolist() == [[0, 0, 127, 255], [0, 0, 0, 0]]
    tifffile.imwrite(path, -numbers.astype(np.int32))
    assert read_grey(path)[0, 1] == -5


def test_one_channel_is_read_as_numbers_and_several_are_refused(odd_pictures: list[Odd]) -> None:
    read = set()
    for odd in odd_pictures:
        if odd.shown is None:
            continue
        try:
            numbers = read_grey(odd.name)
        except DataError as error:
            assert str(error).startswith(f"{odd.name}: cannot be read: ") and "several numbers per pixel" in str(
                error
            )
        else:
            read.add(odd.name)
            assert numbers.shape == odd.shown.shape[:2]
    assert {"grey.png", "deep.png", "float.tif", "palette.png", "bilevel.png"} <= read
    assert not read & {"alpha.png", "grey-alpha.png", "print.jpg", "deep-rgb.png"}


@pytest.mark.parametrize("read", [read_picture, read_shown, lambda path: read_scaled(path, 32)])
def test_faulty_pictures_are_named(read: object, odd_pictures: list[Odd]) -> None:
    faulty = [odd for odd in odd_pictures if odd.shown is None]
    for odd in faulty:
        with pytest.raises(DataError) as caught:
            read(odd.name)  # type: ignore[operator]
        message = str(caught.value)
        assert message.startswith(f"{odd.name}: ") and ";" in message and "\n" not in message
