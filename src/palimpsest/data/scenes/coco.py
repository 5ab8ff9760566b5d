"""The COCO family: signs, fruit and kites in daylight, on meadows, beaches, tables and picnic cloths.

Shape and texture determine the colours, so colorization of a grey copy is well defined.
"""

import numpy as np
from numpy.random import Generator

from palimpsest.data.scenes.drawing import (
    Backdrop,
    Colours,
    Family,
    Field,
    ObjectKind,
    Polygon,
    Surface,
    blend,
    corners,
    ellipse,
    soft_step,
)

STOP = np.array(
    [
        list(row)
        for row in (
            "### ### ### ###",
            "#    #  # # # #",
            "###  #  # # ###",
            "  #  #  # # #  ",
            "###  #  ### #  ",
        )
    ]
)


def octagonal(surface: Surface) -> Field:
    """Return the distance from the centre, 1 on the edges of an octagon inscribed in the unit circle."""
    diagonal = (np.abs(surface.u) + np.abs(surface.v)) / np.sqrt(2)
    widest: Field = np.maximum(np.maximum(np.abs(surface.u), np.abs(surface.v)), diagonal) / np.cos(np.pi / 8)
    return widest.astype(np.float32)


def octagon(rng: Generator) -> list[Polygon]:
    """Return an octagon with corners on the unit circle and a horizontal top edge."""
    angle = (np.arange(8) + 0.5) * np.pi / 4
    return [corners(*zip(np.cos(angle), np.sin(angle), strict=True))]


def stop_sign(surface: Surface) -> Colours:
    """Paint red with a white rim and white letters."""
    edge = octagonal(surface)
    red = surface.fill((0.76, 0.07, 0.1), 0.85 + 0.3 * surface.noise(5, 5))
    row = np.clip((surface.v + 0.3) / 0.6 * 5, -1, 5).astype(int)
    column = np.clip((surface.u + 0.72) / 1.44 * 15, -1, 15).astype(int)
    letters = np.pad(STOP == "#", 1)[row + 1, column + 1]
    rim = soft_step(0.07 - np.abs(edge - 0.88), 0.04)
    return blend(red, (0.96, 0.94, 0.92), np.maximum(rim, letters.astype(np.float32)))


def lamp_housing(rng: Generator) -> list[Polygon]:
    """Return a tall rectangle with rounded corners, a superellipse."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = (np.sign(f) * np.abs(f) ** 0.3 for f in (np.cos(angle), np.sin(angle)))
    return [np.stack([0.45 * x, y], axis=1).astype(np.float32)]


def traffic_light(surface: Surface) -> Colours:
    """Paint a dark box with a yellow rim and red, amber and green lamps, one of them lit."""
    u, v = surface.u, surface.v
    frame = np.maximum(np.abs(u) / 0.45, np.abs(v))
    body = surface.fill((0.1, 0.16, 0.13), 0.8 + 0.5 * surface.noise(3, 9))
    body = blend(body, (0.92, 0.7, 0.1), soft_step(frame - 0.86, 0.06))
    lit = surface.rng.integers(3)
    for lamp, colour in enumerate(((0.95, 0.12, 0.1), (0.98, 0.65, 0.08), (0.1, 0.8, 0.42))):
        distance = np.hypot(u, v - (lamp - 1) * 0.56)
        glow = (1.0 if lamp == lit else 0.62) * (1.1 - 0.9 * distance)
        body = blend(body, surface.fill(colour, glow.clip(0.3, 1.2)), soft_step(0.25 - distance, 0.05))
    return body


def kite_outline(rng: Generator) -> list[Polygon]:
    """Return a diamond, widest above the middle."""
    wide = rng.uniform(0.58, 0.72)
    return [corners((0, -1), (wide, -0.35), (0, 1), (-wide, -0.35))]


def kite(surface: Surface) -> Colours:
    """Paint two yellow quarters, two blue quarters with white stripes, and dark spars."""
    u, v = surface.u, surface.v
    quarter = soft_step(u, 0.04) * soft_step(v + 0.35, 0.04) + soft_step(-u, 0.04) * soft_step(-v - 0.35, 0.04)
    sail = blend(surface.fill((0.07, 0.4, 0.68)), (1.0, 0.84, 0.2), quarter)
    sail = blend(sail, (0.95, 0.97, 1.0), 0.85 * soft_step(np.sin(26 * v) - 0.55, 0.4) * (1 - quarter))
    spar = np.minimum(np.abs(u), np.abs(v + 0.35))
    return blend(sail, (0.25, 0.12, 0.08), soft_step(0.035 - spar, 0.03))


def banana_outline(rng: Generator) -> list[Polygon]:
    """Return a crescent."""
    share = np.linspace(0, 1, 26)
    angle = np.pi * (0.12 + 0.76 * share)
    half = 0.05 + rng.uniform(0.2, 0.27) * np.sin(np.pi * share) ** 0.65
    sides = [
        np.stack([radius * np.cos(angle), radius * np.sin(angle) - 0.75], axis=1)
        for radius in (1.0 + half * 0.9, 1.0 - half)
    ]
    return [np.concatenate([sides[0], sides[1][::-1]]).astype(np.float32)]


def banana(surface: Surface) -> Colours:
    """Paint yellow with dark ridges, freckles and brown tips."""
    u, v = surface.u, surface.v + 0.75
    radius, along = np.hypot(u, v), np.arctan2(v, u) / np.pi
    skin = surface.fill((0.98, 0.82, 0.16), 0.9 + 0.12 * soft_step(radius - 1.0, 0.1))
    for ridge in (0.9, 1.03, 1.14):
        skin = blend(skin, (0.66, 0.47, 0.08), 0.6 * soft_step(0.022 - np.abs(radius - ridge), 0.03))
    skin = blend(skin, (0.4, 0.25, 0.08), soft_step(surface.noise(24, 24) - 0.86, 0.1))
    return blend(skin, (0.33, 0.22, 0.1), soft_step(np.abs(along - 0.5) - 0.34, 0.05))


def round_outline(rng: Generator) -> list[Polygon]:
    """Return an irregular circle."""
    polygon = ellipse(0, 0, 1, 1, corners=40)
    angle = np.arctan2(polygon[:, 1], polygon[:, 0])
    wobble = 0.96 + 0.03 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.02 * np.sin(5 * angle + rng.uniform(0, 6))
    return [(polygon * wobble[:, None]).astype(np.float32)]


def orange(surface: Surface) -> Colours:
    """Paint a sphere with a pitted peel, a highlight and a green stem."""
    u, v = surface.u, surface.v
    bulge = np.sqrt((1 - u * u - v * v).clip(0, 1))
    peel = surface.fill((0.98, 0.5, 0.05), (0.62 + 0.42 * bulge) * (0.84 + 0.3 * surface.noise(26, 26)))
    peel = blend(peel, (1.0, 0.88, 0.66), 0.7 * soft_step(0.2 - np.hypot(u + 0.35, v + 0.4), 0.3))
    return blend(peel, (0.22, 0.36, 0.1), soft_step(0.11 - np.hypot(u - 0.2, v - 0.15), 0.04))


def donut(surface: Surface) -> Colours:
    """Paint a ring of dough under pink icing with light and dark sprinkles."""
    u, v = surface.u, surface.v
    radius = np.hypot(u, v)
    swell = np.cos(((radius - 0.62) / 0.42).clip(-1, 1) * np.pi / 2)
    dough = surface.fill((0.8, 0.54, 0.24), (0.65 + 0.4 * swell) * (0.9 + 0.2 * surface.noise(12, 12)))
    drips = 0.05 * np.sin(7 * np.arctan2(v, u) + surface.rng.uniform(0, 6))
    icing = surface.fill((0.96, 0.48, 0.64), 0.72 + 0.32 * swell)
    sprinkles = surface.noise(22, 22)
    icing = blend(icing, (1.0, 0.98, 0.94), soft_step(sprinkles - 0.78, 0.12))
    icing = blend(icing, (0.3, 0.13, 0.12), soft_step(0.2 - sprinkles, 0.12))
    glazed = blend(dough, icing, soft_step(0.26 + drips - np.abs(radius - 0.62), 0.05))
    return blend(glazed, (0.2, 0.12, 0.07), soft_step(0.26 - radius, 0.06))


def leaf_outline(rng: Generator) -> list[Polygon]:
    """Return a leaf, pointed at both ends."""
    share = np.linspace(-1, 1, 16)
    half = rng.uniform(0.3, 0.45) * (1 - share**2)
    upper, lower = np.stack([share, half], axis=1), np.stack([share, -half], axis=1)[::-1]
    return [np.concatenate([upper, lower[1:-1]]).astype(np.float32)]


def leaf(surface: Surface) -> Colours:
    """Paint green with a pale rib and veins."""
    veins = np.sin(22 * (surface.u - np.abs(surface.v)))
    blade = surface.fill((0.24, 0.5, 0.13), 0.85 + 0.25 * veins)
    return blend(blade, (0.66, 0.78, 0.4), soft_step(0.05 - np.abs(surface.v), 0.05))


def pebble(surface: Surface) -> Colours:
    """Paint rough grey."""
    return surface.fill((0.55, 0.54, 0.55), 0.6 + 0.5 * surface.noise(7, 7) + 0.25 * surface.noise(20, 20))


def plate(surface: Surface) -> Colours:
    """Paint white with two blue rings."""
    radius = np.hypot(surface.u, surface.v)
    china = surface.fill((0.92, 0.92, 0.9))
    for ring in (0.66, 0.86):
        china = blend(china, (0.25, 0.38, 0.66), soft_step(0.03 - np.abs(radius - ring), 0.03))
    return china


def box_outline(rng: Generator) -> list[Polygon]:
    """Return a rectangle."""
    tall = rng.uniform(0.55, 0.9)
    return [corners((-0.9, -tall), (0.9, -tall), (0.9, tall), (-0.9, tall))]


def book(surface: Surface) -> Colours:
    """Paint a violet cover with a gilt frame and a dark spine."""
    cover = surface.fill((0.33, 0.22, 0.45), 0.85 + 0.3 * surface.noise(9, 9))
    frame = np.maximum(np.abs(surface.u), np.abs(surface.v) * 1.2)
    cover = blend(cover, (0.85, 0.75, 0.4), soft_step(0.04 - np.abs(frame - 0.62), 0.03))
    return blend(cover, (0.18, 0.1, 0.26), soft_step(-0.7 - surface.u, 0.04))


def sky(surface: Surface) -> Colours:
    """Paint blue, paler towards the horizon, with soft white clouds."""
    blue = surface.fill((0.34, 0.6, 0.92), 0.82 + 0.3 * surface.v)
    cloud = 0.6 * surface.noise(4, 3) + 0.3 * surface.noise(9, 6) + 0.15 * surface.noise(20, 12)
    return blend(blue, (0.97, 0.97, 0.98), soft_step(cloud - 0.62, 0.3))


def grass(surface: Surface) -> Colours:
    """Paint green upright blades."""
    blades = 0.55 * surface.noise(75, 9) + 0.35 * surface.noise(40, 16) + 0.2 * surface.noise(5, 4)
    turf = surface.fill((0.2, 0.42, 0.09), 0.45 + 0.95 * blades)
    return blend(turf, (0.62, 0.74, 0.2), 0.7 * soft_step(blades - 0.68, 0.25))


def sea(surface: Surface) -> Colours:
    """Paint turquoise with horizontal waves and foam."""
    waves = surface.noise(7, 22)
    water = surface.fill((0.06, 0.5, 0.6), 0.75 + 0.5 * waves)
    return blend(water, (0.88, 0.97, 0.97), 0.8 * soft_step(waves - 0.8, 0.2))


def sand(surface: Surface) -> Colours:
    """Paint yellow-brown grains."""
    grains = 0.5 * surface.noise(110, 80) + 0.25 * surface.noise(45, 30) + 0.3 * surface.noise(5, 4)
    return surface.fill((0.92, 0.77, 0.5), 0.62 + 0.52 * grains)


def planks(surface: Surface) -> Colours:
    """Paint brown boards with wood grain."""
    board = surface.v * 4.5
    grain = np.sin(40 * surface.v + 9 * surface.noise(4, 8) + 5 * np.floor(board))
    shade = 0.85 + 0.14 * grain + 0.12 * np.sin(7 * np.floor(board)) + 0.1 * surface.noise(6, 60)
    wood = surface.fill((0.6, 0.36, 0.17), shade)
    return blend(wood, (0.17, 0.09, 0.04), soft_step(0.04 - np.abs(board % 1 - 0.5), 0.06))


def tiles(surface: Surface) -> Colours:
    """Paint mint-green squares with light joints."""
    column, row = surface.u * 6 + 0.3, surface.v * 6
    joint = np.minimum(np.abs(column % 1 - 0.5), np.abs(row % 1 - 0.5))
    shade = 0.9 + 0.09 * np.sin(5 * np.floor(column + 0.5) + 3 * np.floor(row + 0.5)) + 0.1 * surface.noise(9, 9)
    return blend(surface.fill((0.56, 0.8, 0.7), shade), (0.93, 0.92, 0.88), soft_step(0.05 - joint, 0.04))


def gingham(surface: Surface) -> Colours:
    """Paint white cloth with crossing blue stripes."""
    across, down = (soft_step(np.sin(2 * np.pi * 4 * f), 0.15) for f in (surface.u, surface.v))
    weave = 0.93 + 0.07 * np.sin(90 * surface.u) * np.sin(90 * surface.v) + 0.08 * (surface.noise(4, 4) - 0.5)
    return blend(surface.fill((0.95, 0.93, 0.9), weave), (0.2, 0.3, 0.66), 0.45 * (across + down))


LEAF = ObjectKind("leaf", leaf_outline, leaf, reach=(0.06, 0.2))
PEBBLE = ObjectKind("pebble", round_outline, pebble, reach=(0.05, 0.17), height=(0.5, 1.0))
PLATE = ObjectKind("plate", round_outline, plate, reach=(0.14, 0.3))
BOOK = ObjectKind("book", box_outline, book, reach=(0.12, 0.26))

CATEGORIES = {
    10: ("traffic light", "outdoor"),
    13: ("stop sign", "outdoor"),
    38: ("kite", "sports"),
    52: ("banana", "food"),
    55: ("orange", "food"),
    60: ("donut", "food"),
}
"""Name and supercategory of each drawn class, by its id in COCO."""

FAMILY = Family(
    objects={
        10: ObjectKind("traffic light", lamp_housing, traffic_light, turn=20, reach=(0.26, 0.46)),
        13: ObjectKind("stop sign", octagon, stop_sign, turn=20, reach=(0.2, 0.4), mirrored=False),
        38: ObjectKind("kite", kite_outline, kite, turn=60, reach=(0.26, 0.46), height=(0.1, 0.7)),
        52: ObjectKind("banana", banana_outline, banana, reach=(0.24, 0.42)),
        55: ObjectKind("orange", round_outline, orange, reach=(0.16, 0.32)),
        60: ObjectKind("donut", round_outline, donut, reach=(0.18, 0.36)),
    },
    backdrops=(
        Backdrop((sky, grass), ((0.25, 0.65),), ("kite", "stop sign", "traffic light"), (LEAF, PEBBLE)),
        Backdrop((sky, sea, sand), ((0.2, 0.35), (0.4, 0.6)), ("kite", "orange", "donut"), (PEBBLE, BOOK)),
        Backdrop((tiles, planks), ((0.2, 0.6),), ("banana", "orange", "donut"), (PLATE, BOOK, LEAF)),
        Backdrop((gingham,), (), ("banana", "orange", "donut", "kite"), (PLATE, LEAF, BOOK)),
        Backdrop((planks,), (), ("banana", "stop sign", "traffic light"), (PEBBLE, LEAF, BOOK)),
    ),
    clutter_in_front=False,
)
