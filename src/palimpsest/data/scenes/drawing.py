"""Drawing of scenes: noise, surfaces, objects with outline and texture, light and soft shadows.

Scenes are drawn at `OVERSAMPLING` times the picture's size and averaged down, which smooths the edges.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Field = NDArray[np.floating[Any]]
"""One number per pixel: (H, W)."""
Colours = NDArray[np.floating[Any]]
"""RGB in [0, 1]: (H, W, 3)."""
Colour = tuple[float, float, float]
Polygon = NDArray[np.floating[Any]]
"""Corners (K, 2) as x, y."""

OVERSAMPLING = 2
BACKGROUND = 0
"""Class of clutter."""
NOBODY = -1
"""Value of `Scene.owner` at pixels without an instance."""


@dataclass(frozen=True)
class Surface:
    """Pixels to be painted by a `Texture`, with their texture coordinates.

    The coordinates of an object cover [-1, 1] and rotate with it. On a backdrop their unit is the shorter side of
    the picture.
    """

    u: Field
    """(H, W), to the right."""
    v: Field
    """(H, W), downwards."""
    rng: Generator
    """Random generator of the scene; textures draw from it."""

    def noise(self, across: float, down: float) -> Field:
        """Return smooth random noise in [0, 1], (H, W), with `across` × `down` cells over the surface."""
        cells = self.rng.random((max(2, round(down)), max(2, round(across))), dtype=np.float32)
        height, width = self.u.shape
        grown = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(grown).clip(0, 1)

    def fill(self, colour: Colour, brightness: Field | float = 1.0) -> Colours:
        """Return a colour times the brightness of each pixel, (H, W, 3)."""
        lit: Colours = np.asarray(colour, np.float32) * np.broadcast_to(brightness, self.u.shape)[..., None]
        return lit

    def rows(self, start: int, end: int) -> "Surface":
        """Return the part of the surface from row ``start`` to row ``end``, exclusive."""
        return Surface(self.u[start:end], self.v[start:end], self.rng)


Texture = Callable[[Surface], Colours]
"""Function that returns the colours of the pixels of a surface."""


@dataclass(frozen=True)
class ObjectKind:
    """Kind of object, with its appearance and possible positions.

    `outline` returns polygons in [-1, 1]² that together cover the object. `turn` is the largest rotation in either
    direction in degrees, `reach` the range of the half extent as a fraction of the picture's shorter side, and
    `height` the range of the centre as a fraction of the picture's height. With `mirrored`, half of the objects are
    mirrored.
    """

    name: str
    outline: Callable[[Generator], list[Polygon]]
    texture: Texture
    turn: float = 180.0
    reach: tuple[float, float] = (0.15, 0.38)
    height: tuple[float, float] = (0.1, 0.9)
    mirrored: bool = True


@dataclass(frozen=True)
class Backdrop:
    """Background with its typical objects.

    `bands` are textures from top to bottom, `seams` the range of each boundary between them as a fraction of the
    height. `objects` are the typical classes by name, `clutter` unlabelled objects.
    """

    bands: tuple[Texture, ...]
    seams: tuple[tuple[float, float], ...]
    objects: tuple[str, ...]
    clutter: tuple[ObjectKind, ...]


@dataclass(frozen=True)
class Family:
    """Kind of scenes, such as those of the COCO data set: its classes and backdrops."""

    objects: dict[int, ObjectKind]
    """Classes by their index in the data set."""
    backdrops: tuple[Backdrop, ...]
    clutter_in_front: bool
    """True if clutter may cover labelled objects."""


@dataclass(frozen=True)
class Instance:
    """Labelled object in a finished picture, with its polygons in pixels, clipped at the edge of the picture."""

    category: int
    """Class, a key of `Family.objects`."""
    polygons: tuple[Polygon, ...]

    @property
    def area(self) -> float:
        """Area in pixels, occluded parts included; overlapping polygons count twice."""
        return sum(area(polygon) for polygon in self.polygons)


@dataclass(frozen=True)
class Scene:
    """Finished picture with its instances.

    `pixels` is uint8 (H, W, 3). `owner` (H, W) is the index of the visible instance at each pixel, or `NOBODY`;
    instances are sorted by area, largest first.
    """

    pixels: NDArray[np.uint8]
    instances: tuple[Instance, ...]
    owner: NDArray[np.int16]


def area(polygon: Polygon) -> float:
    """Return the area of a polygon by the shoelace formula."""
    x, y = polygon.T.astype(np.float64)
    return float(abs(x @ np.append(y[1:], y[0]) - y @ np.append(x[1:], x[0])) / 2)


def soft_step(field: Field, softness: float) -> Field:
    """Return a step from 0 (negative field) to 1 (positive field) with a linear ramp of width `softness`."""
    return (field / softness + 0.5).clip(0, 1)


def blend(under: Colours, over: Colours | Colour, share: Field) -> Colours:
    """Return `under` with `over` painted on it at opacity `share`, (H, W, 3)."""
    return under + (np.asarray(over, np.float32) - under) * share[..., None]


def ellipse(x: float, y: float, across: float, down: float, *, tilt: float = 0.0, corners: int = 32) -> Polygon:
    """Return an ellipse around (x, y) with semi-axes `across` and `down`, rotated by `tilt` radians, as polygon."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    flat = np.stack([across * np.cos(angle), down * np.sin(angle)], axis=1)
    turned = flat @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    polygon: Polygon = (turned + np.array([x, y])).astype(np.float32)
    return polygon


def corners(*points: tuple[float, float]) -> Polygon:
    """Return a polygon through the given corners, with further points along its edges.

    With dense points, clipping the polygon by moving each point onto the picture's edge keeps its shape.
    """
    sparse = np.array(points)
    share = np.linspace(0, 1, 8, endpoint=False)[:, None]
    edges = [a + (b - a) * share for a, b in zip(sparse, np.roll(sparse, -1, axis=0), strict=True)]
    return np.concatenate(edges).astype(np.float32)


@dataclass(frozen=True)
class Placement:
    """Object with its position on the canvas, the picture at `OVERSAMPLING` times its size."""

    category: int
    """Class, a key of `Family.objects`, or `BACKGROUND`."""
    kind: ObjectKind
    outline: tuple[Polygon, ...]
    """Polygons in canvas pixels."""
    centre: NDArray[np.float64]
    """(x, y) in canvas pixels."""
    to_canvas: NDArray[np.float64]
    """(2, 2) matrix from the object's coordinates in [-1, 1]² to canvas pixels around the centre."""


def compose(family: Family, size: int, rng: Generator) -> Scene:
    """Return a random scene of the family; the shorter side is `size` pixels, the longer one up to 4/3 × `size`."""
    sides = [size, round(size * rng.uniform(1, 4 / 3))]
    width, height = sides if rng.random() < 0.3 else sides[::-1]
    shape = (height * OVERSAMPLING, width * OVERSAMPLING)
    backdrop = family.backdrops[rng.integers(len(family.backdrops))]
    canvas = draw_backdrop(backdrop, shape, rng)
    owner = np.full(shape, NOBODY, np.int16)
    light = rng.uniform(0.2, 0.8) * np.pi  # direction of shadows: downwards, to either side

    names = {kind.name: category for category, kind in family.objects.items()}
    placements: list[Placement] = []
    for _ in range(rng.integers(2, 7)):
        kind = backdrop.clutter[rng.integers(len(backdrop.clutter))]
        placements.append(random_placement(BACKGROUND, kind, shape, placements, rng))
    clutter, placements = placements, []
    for _ in range(0 if rng.random() < 0.04 else rng.integers(1, 6)):
        at_home = rng.random() < 0.75
        category = names[str(rng.choice(backdrop.objects))] if at_home else int(rng.choice(list(family.objects)))
        placements.append(random_placement(category, family.objects[category], shape, placements, rng))

    placements = [placement for placement in placements if instance_of(placement, shape).polygons]
    instances = [instance_of(placement, shape) for placement in placements]
    order = sorted(range(len(instances)), key=lambda index: -instances[index].area)
    front = clutter[: rng.integers(3)] if family.clutter_in_front else []
    for placement in clutter[len(front) :]:
        draw(canvas, owner, placement, NOBODY, light=light, rng=rng)
    for rank, index in enumerate(order):
        draw(canvas, owner, placements[index], rank, light=light, rng=rng)
    for placement in front:
        draw(canvas, owner, placement, NOBODY, light=light, rng=rng)

    visible = owner[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
    return Scene(develop(canvas, light, rng), tuple(instances[index] for index in order), visible)


def draw_backdrop(backdrop: Backdrop, shape: tuple[int, int], rng: Generator) -> Colours:
    """Return the colours of the background for a canvas of shape (H, W): (H, W, 3)."""
    height, width = shape
    v, u = np.mgrid[:height, :width].astype(np.float32) / min(shape)
    surface = Surface(u, v, rng)
    seams = [0, *(round(height * rng.uniform(*seam)) for seam in backdrop.seams), height]
    parts = [
        texture(surface.rows(start, end))
        for texture, (start, end) in zip(backdrop.bands, pairwise(seams), strict=True)
        if end > start
    ]
    return np.concatenate(parts)


def random_placement(
    category: int, kind: ObjectKind, shape: tuple[int, int], existing: Sequence[Placement], rng: Generator
) -> Placement:
    """Return an object at a random position, if possible away from the existing centres; overlap is allowed."""
    reach = rng.uniform(*kind.reach) * min(shape)
    centre = np.zeros(2)
    for _ in range(12):
        centre = np.array([rng.uniform(0.08, 0.92) * shape[1], rng.uniform(*kind.height) * shape[0]])
        if all(
            np.hypot(*(centre - placement.centre)) > 0.7 * (reach + np.abs(placement.to_canvas[0]).max())
            for placement in existing
        ):
            break
    angle = np.deg2rad(rng.uniform(-kind.turn, kind.turn))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    side = -1 if kind.mirrored and rng.random() < 0.5 else 1
    to_canvas = turn @ np.diag([side * rng.uniform(0.88, 1.12), 1]) * reach
    outline = tuple((polygon @ to_canvas.T + centre).astype(np.float32) for polygon in kind.outline(rng))
    return Placement(category, kind, outline, centre, to_canvas)


def instance_of(placement: Placement, shape: tuple[int, int]) -> Instance:
    """Return an object of a canvas of this shape as an instance in pixels of the finished picture."""
    edge = np.array(shape[::-1], np.float32)
    clipped = tuple(polygon.clip(0, edge) / OVERSAMPLING for polygon in placement.outline)
    return Instance(placement.category, tuple(polygon for polygon in clipped if area(polygon) > 0))


def draw(
    canvas: Colours,
    owner: NDArray[np.int16],
    placement: Placement,
    index: int,
    *,
    light: float,
    rng: Generator,
) -> None:
    """Draw an object and its shadow onto `canvas`, and set `owner` to `index` at its pixels; both change in place.

    `light` is the direction of the shadow in radians.
    """
    reach = float(np.abs(placement.to_canvas).max())
    points = np.concatenate(placement.outline)
    left, top = np.floor(points.min(axis=0)).astype(int)
    right, bottom = np.ceil(points.max(axis=0)).astype(int)
    margin = int(0.42 * reach) + 2  # extent of the shadow
    origin = (top - margin, left - margin)
    mask_image = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin))
    pen = ImageDraw.Draw(mask_image)
    for polygon in placement.outline:
        pen.polygon((polygon - np.array([origin[1] + 0.5, origin[0] + 0.5])).ravel().tolist(), fill=255)
    blurred = np.asarray(mask_image.filter(ImageFilter.GaussianBlur(0.1 * reach)), np.float32) / 255

    shift = np.rint(0.16 * reach * np.array([np.sin(light), np.cos(light)])).astype(int)
    shadow = np.roll(blurred, (shift[0], shift[1]), axis=(0, 1))
    on_canvas, on_mask = overlap((*origin, bottom + margin, right + margin), origin, owner.shape)
    canvas[on_canvas] *= (1 - rng.uniform(0.35, 0.6) * shadow[on_mask])[..., None]

    on_canvas, on_mask = overlap((top, left, bottom, right), origin, owner.shape)
    mask = np.asarray(mask_image)[on_mask] > 0
    if not mask.any():
        return
    dy, dx = np.mgrid[on_canvas].astype(np.float32) + 0.5
    dx, dy = dx - np.float32(placement.centre[0]), dy - np.float32(placement.centre[1])
    (a, b), (c, d) = np.linalg.inv(placement.to_canvas).astype(np.float32)
    surface = Surface(a * dx + b * dy, c * dx + d * dy, rng)
    # Shade the rim and the side away from the light: flat textures get volume.
    toward_light = -(dx * np.float32(np.cos(light)) + dy * np.float32(np.sin(light))) / reach
    shade = (0.72 + 0.3 * blurred[on_mask]) * (1 + 0.16 * toward_light) * rng.uniform(0.9, 1.12)
    np.copyto(canvas[on_canvas], placement.kind.texture(surface) * shade[..., None], where=mask[..., None])
    owner[on_canvas][mask] = index


def overlap(
    box: tuple[int, int, int, int], origin: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slices of a box (top, left, bottom, right), clipped to a canvas of this shape.

    The first pair selects the box in the canvas, the second in an array whose top left corner is at `origin`.
    """
    rows = slice(max(box[0], 0), max(min(box[2], shape[0]), 0))
    columns = slice(max(box[1], 0), max(min(box[3], shape[1]), 0))
    local_rows = slice(rows.start - origin[0], rows.stop - origin[0])
    local_columns = slice(columns.start - origin[1], columns.stop - origin[1])
    return (rows, columns), (local_rows, local_columns)


def develop(canvas: Colours, light: float, rng: Generator) -> NDArray[np.uint8]:
    """Return the picture, uint8 (H, W, 3): the canvas averaged down, with uneven light and sensor noise."""
    offsets = np.ndindex(OVERSAMPLING, OVERSAMPLING)
    picture = np.mean([canvas[y::OVERSAMPLING, x::OVERSAMPLING] for y, x in offsets], axis=0)
    height, width, _ = picture.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope = -rng.uniform(0, 0.22) * (x * np.float32(np.cos(light)) + y * np.float32(np.sin(light)))
    vignette = 1 - rng.uniform(0, 0.16) * (x * x + y * y)
    exposure = rng.uniform(0.82, 1.15) * (1 + slope) * vignette
    warmth = 1 + rng.uniform(-0.04, 0.04) * np.array([1, 0, -1], np.float32)
    grain = rng.normal(0, 0.012, (height, width, 1)).astype(np.float32)
    exposed = (picture * exposure[..., None] * warmth + grain).clip(0, 1)
    pixels: NDArray[np.uint8] = (exposed * 255).round().astype(np.uint8)
    return pixels
