from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palimpsest.data.grey import GreyScale
from palimpsest.data.pictures import read_picture, read_shown
from palimpsest.errors import DataError


def test_a_range_becomes_0_to_255_and_other_values_are_clipped_and_counted() -> None:
    scale = GreyScale((0, 10000), "target_range")
    values = np.array([[0, 5100, 10000, 12000]], np.uint16)
    assert scale.to_eight_bits(values).tolist() == [[0, 130, 255, 255]]
    assert scale.summary() == {
        "pictures": 1,
        "black": 0,
        "white": 10000,
        "lowest": 0,
        "highest": 12000,
        "clipped_pixels": 1,
    }
    assert scale.describe() == (
        "1 of 16 bits and more, values 0 to 12000; 0 to 10000 become 0 to 255 (by target_range), pixels clipped: 1"
    )
    scale.restart()
    assert scale.summary() is None


def test_without_a_range_the_full_range_is_used_and_values_are_recorded() -> None:
    scale = GreyScale(key="target_range")
    scale.to_eight_bits(np.array([[412, 9830]], np.uint16))
    assert scale.describe() == (
        "1 of 16 bits and more, values 412 to 9830; 0 to 65535 become 0 to 255 (the full range; "
        "set target_range if the values use a part of it)"
    )


def test_every_value_of_16_bits_is_rounded_alike_in_any_band(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values.astype(np.float64) * (255 / 65535)).astype(np.uint8)
    assert np.array_equal(GreyScale().to_eight_bits(values), expected)
    monkeypatch.setattr("palimpsest.data.grey.BAND_VALUES", 700)
    assert np.array_equal(GreyScale().to_eight_bits(values), expected)


@pytest.mark.parametrize(
    ("values", "limits", "expected"),
    [
        (np.array([[-1000.0, 0.0, 1000.0]], np.float32), (-1000, 1000), [0, 128, 255]),  # Hounsfield units
        (np.array([[0.5, 2.5, 10.5]], np.float32), (0.5, 10.5), [0, 51, 255]),  # depth in metres
        (np.array([[0, 50000, 100000]], np.int32), (0, 100000), [0, 128, 255]),
    ],
)
def test_a_range_applies_to_signed_values_and_floats(
    values: np.ndarray, limits: tuple[float, float], expected: list[int]
) -> None:
    assert GreyScale(limits).to_eight_bits(values).tolist() == [expected]


def test_nan_and_8_bits_are_refused(tmp_path: Path) -> None:
    message = "1 grey values are NaN or infinite; replace them by finite numbers, .*; target_range does not "
    with pytest.raises(ValueError, match=message):
        GreyScale((0, 1), "target_range").to_eight_bits(np.array([[0, np.nan]], np.float32))
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    message = (
        r"colour\.png: .*8 bits per channel \(RGB\), but target_range is for .*; convert it, or remove target_ra"
    )
    with pytest.raises(DataError, match=message):
        read_shown(tmp_path / "colour.png", scale=GreyScale((0, 10000), "target_range"))


def test_values_without_a_range_are_refused_with_the_setting(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match=r"exceed the range 0 to 65535; scale them, or set input_range$"):
        read_shown(tmp_path / "deep.tif", scale=GreyScale(key="input_range"))
    with pytest.raises(DataError, match=r"exceed the range 0 to 65535; scale them$"):
        read_picture(tmp_path / "deep.tif")
