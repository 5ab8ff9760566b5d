"""Degradations of pictures: the inputs of generated pairs, whose targets are the pictures themselves.

A degradation takes a picture, RGB, and a random generator, and returns a picture of the same size.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Degradation = Callable[[Image.Image, Generator], Image.Image]


def blurred(picture: Image.Image, random: Generator) -> Image.Image:
    """Return the picture through a Gaussian filter with a deviation of a fortieth of its shorter side."""
    return picture.filter(ImageFilter.GaussianBlur(min(picture.size) / 40))


def noisy(picture: Image.Image, random: Generator) -> Image.Image:
    """Return the picture with Gaussian noise of a deviation of 38 grey levels, independent in each channel."""
    pixels = np.asarray(picture) + random.normal(scale=38, size=(picture.height, picture.width, 3))
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def edges(picture: Image.Image, random: Generator) -> Image.Image:
    """Return the magnitude of the gradient of the picture's luminance, dark on white."""
    down, across = np.gradient(np.asarray(picture.convert("L"), np.float32))
    magnitude = np.hypot(down, across)
    return Image.fromarray((255 - (4 * magnitude).clip(0, 255)).astype(np.uint8)).convert("RGB")


def coarse(picture: Image.Image, random: Generator) -> Image.Image:
    """Return the picture in squares of a twelfth of its shorter side, each in its mean colour."""
    side = max(1, min(picture.size) // 12)
    grown = picture.reduce(side)
    grown = grown.resize((side * grown.width, side * grown.height), Image.Resampling.NEAREST)
    return grown.crop((0, 0, *picture.size))


def inverted(picture: Image.Image, random: Generator) -> Image.Image:
    """Return the negative of the picture."""
    return ImageOps.invert(picture)


def dark(picture: Image.Image, random: Generator) -> Image.Image:
    """Return the picture at a quarter of its brightness."""
    return ImageEnhance.Brightness(picture).enhance(0.25)


def covered(picture: Image.Image, random: Generator) -> Image.Image:
    """Return the picture with three grey squares of a fifth of its shorter side at random positions."""
    result, side = picture.copy(), min(picture.size) // 5
    for _ in range(3):
        left, top = (int(random.integers(0, length - side)) for length in picture.size)
        result.paste((128, 128, 128), (left, top, left + side, top + side))
    return result


DEGRADATIONS: dict[str, Degradation] = {
    "blurred": blurred,
    "noisy": noisy,
    "edges": edges,
    "coarse": coarse,
    "inverted": inverted,
    "dark": dark,
    "covered": covered,
}
"""Degradations by name, the values of the setting `degradation` of generated pairs."""
