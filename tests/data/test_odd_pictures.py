"""Odd pictures, read as data sets read them."""

import numpy as np
import pytest

from palimpsest.data.pictures import (
    read_frame,
    read_grey,
    read_picture,
    read_scaled,
    read_shown,
    resize_and_crop,
)
from palimpsest.errors import DataError
from tests.odd_pictures import Odd, brightness, odd_pictures

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
