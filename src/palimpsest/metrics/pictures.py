"""Similarity of two pictures, and colourfulness of one picture.

Pictures are (H, W, 3) RGB, float in [0, 1]. All functions raise ValueError for other shapes, for two different
sizes, and for integers, because values above 1 would silently give a wrong number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

Picture = NDArray[np.floating[Any]]


def ssim(a: Picture, b: Picture) -> float:
    """Return the structural similarity SSIM (Wang et al., IEEE TIP 2004), mean over pixels and channels.

    Equal pictures give 1, anticorrelated pictures a negative value. The parameters follow the paper: a Gaussian
    window of σ = 1.5 (11×11) and the population covariance. The defaults of scikit-image (7×7 uniform window,
    sample covariance) give another number.

    Raises:
        ValueError: the shapes differ, the values are integers, or the pictures are smaller than the window.
    """
    _check(a, b)
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            a,
            b,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=-1,
        )
    )


def mse(a: Picture, b: Picture) -> float:
    """Return the mean squared error over pixels and channels on the 0–255 scale."""
    _check(a, b)
    difference = 255 * (a.astype(np.float64) - b.astype(np.float64))
    return float(np.mean(difference**2))


def ciede2000(a: Picture, b: Picture) -> float:
    """Return the perceived colour difference ΔE00 (CIE 142-2001), mean over pixels; sRGB under D65.

    Equal pictures give 0, a just noticeable difference about 1, black against white 100.
    """
    _check(a, b)
    return float(np.mean(deltaE_ciede2000(rgb2lab(a), rgb2lab(b))))  # type: ignore[no-untyped-call]


def colourfulness(a: Picture) -> float:
    """Return the colourfulness M (Hasler & Süsstrunk, SPIE 5007, 2003) on the 0–255 scale; 0 for a grey picture.

    M = √(σ²rg + σ²yb) + 0.3 √(μ²rg + μ²yb), with rg = R − G and yb = (R + G)/2 − B.
    """
    _check(a, a)
    red, green, blue = np.moveaxis(255 * a.astype(np.float64), -1, 0)
    rg = red - green
    yb = (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def _check(a: Picture, b: Picture) -> None:
    """Check that both are float pictures (H, W, 3) of one size.

    Raises:
        ValueError: shape or dtype is another.
    """
    for picture in (a, b):
        if picture.ndim != 3 or picture.shape[2] != 3 or not np.issubdtype(picture.dtype, np.floating):
            raise ValueError(f"expected a float picture (H, W, 3), found {picture.dtype} {picture.shape}")
    if a.shape != b.shape:
        raise ValueError(f"pictures differ in size: {a.shape} and {b.shape}")
