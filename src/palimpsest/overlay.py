"""Classes over a photograph: regions in colour with outlines, and the name of the class in each."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from palimpsest.data.pictures import Pixels

OPACITY = 0.5
"""Opacity of the colours."""
SMALLEST = 96
"""Shorter side of a picture, in pixels, below which it has neither outlines nor names."""
SEARCHED = 512
"""Largest side, in pixels, at which the centres of regions are searched."""
NAMED = 0.01
"""Smallest region with a name, as a fraction of the picture."""
FONT, OUTLINE = 18, 300
"""Shorter side of the picture divided by the height of names, and by the width of outlines."""


def overlaid(photograph: Pixels, labels: Image.Image, classes: Sequence[str]) -> Image.Image:
    """Return a photograph, uint8 (H, W, 3), with the classes over it; the background, label 0, stays.

    ``labels`` is a picture of mode ``P`` of the same size, as `Translator.image` returns it, and ``classes`` are
    the names of the labels.
    """
    values, original = np.asarray(labels), Image.fromarray(photograph)
    mixed = Image.blend(original, labels.convert("RGB"), OPACITY)
    image = Image.composite(mixed, original, Image.fromarray(values > 0))
    side = min(values.shape)
    if side < SMALLEST:
        return image
    outlines = edges(values)
    if side > 2 * OUTLINE:
        outlines = ndimage.binary_dilation(outlines, iterations=side // (2 * OUTLINE))
    image.paste("white", mask=Image.fromarray(outlines & (values > 0)))
    draw = ImageDraw.Draw(image)
    for label, (row, column) in centres(values):
        size = max(10, side // FONT)
        draw.text(
            (column, row),
            classes[label],
            "white",
            font_size=size,
            anchor="mm",
            stroke_width=max(1, size // 8),
            stroke_fill="black",
        )
    return image


def edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the pixels of a map beside one with another label, above, below, left or right."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    for to, of in ((edge, labels), (edge.T, labels.T)):
        differs = of[1:] != of[:-1]
        to[1:] |= differs
        to[:-1] |= differs
    return edge


def centres(labels: NDArray[np.uint8]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield each label of a map except 0 and the pixel of its largest region farthest from the region's edge.

    Labels without a region of the share `NAMED` are left out.
    """
    step = -(-max(labels.shape) // SEARCHED)
    coarse = labels[::step, ::step]
    for label in np.unique(coarse[coarse > 0]).tolist():
        regions, number = ndimage.label(coarse == label)
        sizes = np.bincount(regions.ravel(), minlength=number + 1)[1:]
        if sizes.max() < NAMED * coarse.size:
            continue
        inside = np.pad(regions == 1 + sizes.argmax(), 1)  # the picture's edge is an edge of the region
        row, column = np.unravel_index(ndimage.distance_transform_edt(inside).argmax(), inside.shape)
        yield label, (step * (int(row) - 1), step * (int(column) - 1))
