"""Classes over a photograph."""

import numpy as np
from PIL import Image

from palimpsest.data.voc import palette
from palimpsest.overlay import NAMED, OPACITY, centres, overlaid

CLASSES = ["background", "cat", "dog"]


def picture_of(values: np.ndarray) -> Image.Image:
    labels = Image.fromarray(values)
    labels.putpalette(palette().tobytes())
    return labels


def test_a_small_picture_has_colours_alone() -> None:
    values = np.zeros((4, 6), np.uint8)
    values[1, 2:4] = (1, 2)
    photograph = np.full((4, 6, 3), 100, np.uint8)
    overlay = np.asarray(overlaid(photograph, picture_of(values), CLASSES)).astype(int)
    assert (overlay[values == 0] == 100).all()
    expected = (1 - OPACITY) * 100 + OPACITY * palette()[values]
    assert np.abs(overlay - expected)[values > 0].max() <= 1


def test_a_region_has_an_outline_and_a_name() -> None:
    values = np.zeros((300, 400), np.uint8)
    values[100:250, 50:350] = 2
    photograph = np.zeros((300, 400, 3), np.uint8)
    overlay = np.asarray(overlaid(photograph, picture_of(values), CLASSES))
    assert (overlay[100, 50:350] == 255).all() and (overlay[100:250, 349] == 255).all()
    assert (overlay[:100] == 0).all()
    inside = overlay[110:240, 60:340]
    letters = np.argwhere((inside == 255).all(2))
    assert len(letters) > 10 and np.abs(letters.mean(0) - (65, 140)).max() < 90
    other = np.asarray(overlaid(photograph, picture_of(values), ["background", "cat", "a dog"]))
    assert (other != overlay).any()


def test_the_name_is_in_the_widest_part_of_the_largest_region() -> None:
    values = np.zeros((200, 300), np.uint8)
    values[20:60, 20:60] = 1  # smaller
    values[100:180, 100:180] = 1
    values[130:135, 180:300] = 1  # a long thin part
    values[5:8, 250:253] = 2  # too small for a name
    ((label, (row, column)),) = centres(values)
    assert label == 1 and 135 <= row <= 145 and 135 <= column <= 145
    assert NAMED * values.size > 9


def test_large_maps_are_searched_in_coarse_steps() -> None:
    values = np.zeros((2000, 3000), np.uint8)
    values[500:1500, 0:2000] = 1  # at the edge of the picture
    ((_, (row, column)),) = centres(values)
    assert abs(row - 1000) < 20 and 480 <= column <= 1520
    assert list(centres(np.zeros((10, 10), np.uint8))) == []
