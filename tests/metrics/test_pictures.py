import numpy as np
import pytest
from skimage.color import lab2rgb

from palimpsest.metrics.pictures import ciede2000, colourfulness, mse, ssim


def flat(red, green, blue, side=16):
    return np.broadcast_to(np.array([red, green, blue], dtype=np.float32), (side, side, 3)).copy()


def noise(seed, side=32):
    return np.random.default_rng(seed).random((side, side, 3), dtype=np.float32)


def test_ssim_of_flat_pictures_is_its_luminance_term():
    # no variance: (2·x·y + C1) / (x² + y² + C1) with C1 = 0.01²
    expected = (2 * 0.5 * 0.25 + 1e-4) / (0.25 + 0.0625 + 1e-4)
    assert ssim(flat(0.5, 0.5, 0.5), flat(0.25, 0.25, 0.25)) == pytest.approx(expected, abs=1e-5)


def test_ssim_is_the_mean_over_channels():
    expected = (1 + 1 + (2 * 0.5 * 0.25 + 1e-4) / (0.25 + 0.0625 + 1e-4)) / 3
    assert ssim(flat(0.5, 0.5, 0.5), flat(0.5, 0.5, 0.25)) == pytest.approx(expected, abs=1e-5)


def test_ssim_follows_the_formula_with_an_11_by_11_gaussian_window():
    # only the central pixel of an 11×11 picture has a full window: the formula in full
    a, b = noise(1, 11).astype(np.float64), noise(2, 11).astype(np.float64)
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(bell, bell) / bell.sum() ** 2
    values = []
    for x, y in zip(np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0), strict=True):
        mean_x, mean_y = (window * x).sum(), (window * y).sum()
        var_x, var_y = (window * x**2).sum() - mean_x**2, (window * y**2).sum() - mean_y**2
        cov = (window * x * y).sum() - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
        values.append(luminance * (2 * cov + 0.03**2) / (var_x + var_y + 0.03**2))
    assert ssim(a, b) == pytest.approx(np.mean(values), abs=1e-9)


def test_equal_pictures_have_perfect_metrics():
    a = noise(3)
    assert ssim(a, a) == pytest.approx(1, abs=1e-6)
    assert mse(a, a) == 0
    assert ciede2000(a, a) == 0


def test_mse_is_on_the_scale_of_bytes():
    assert mse(flat(0, 0, 0), flat(1, 1, 1)) == 65025
    assert mse(flat(0, 0, 0), flat(0, 0, 2 / 255)) == pytest.approx(4 / 3)


def test_ciede2000_from_black_to_white_is_100():
    assert ciede2000(flat(0, 0, 0), flat(1, 1, 1)) == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize(("lab", "difference"), [((73, 25, -18), 27.1492), ((61, -5, 29), 22.8977)])
def test_ciede2000_of_the_published_test_pairs(lab, difference):
    # Sharma, Wu & Dalal 2005, table 1, pairs 17 and 18: both against L*a*b* (50, 2.5, 0)
    pair = np.array([(50, 2.5, 0), lab])
    a, b = (np.broadcast_to(lab2rgb(colour), (4, 4, 3)) for colour in pair)
    assert ciede2000(a, b) == pytest.approx(difference, abs=1e-3)


def test_ciede2000_is_the_mean_over_pixels():
    half = flat(0, 0, 0)
    half[:8] = 1
    assert ciede2000(half, flat(0, 0, 0)) == pytest.approx(50, abs=1e-3)


def test_colourfulness_of_grey_is_zero_and_of_pure_red_its_mean_term():
    assert colourfulness(noise(4)[..., :1].repeat(3, axis=-1)) == pytest.approx(0, abs=1e-9)
    assert colourfulness(flat(1, 0, 0)) == pytest.approx(0.3 * np.sqrt(255**2 + 127.5**2))


def test_colourfulness_of_half_red_half_blue_by_hand():
    a = flat(1, 0, 0)
    a[8:] = (0, 0, 1)
    # rg: 255 and 0; yb: 127.5 and −255
    assert colourfulness(a) == pytest.approx(np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75))


@pytest.mark.parametrize("function", [ssim, mse, ciede2000])
def test_bytes_and_unequal_sizes_are_refused(function):
    with pytest.raises(ValueError, match="uint8"):
        function(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="differ in size"):
        function(flat(0, 0, 0, 16), flat(0, 0, 0, 12))
