"""The VOC family: vehicles, sheep, bottles and plants, from the side, in harbours, streets and parlours.

Shapes, textures, palette and viewpoint all differ from the COCO family's.
"""

import numpy as np
from numpy.random import Generator

from palimpsest.data.scenes.drawing import (
    Backdrop,
    Colours,
    Family,
    ObjectKind,
    Polygon,
    Surface,
    blend,
    corners,
    ellipse,
    soft_step,
)


def aeroplane_outline(rng: Generator) -> list[Polygon]:
    """Return an aeroplane from the side, nose to the right."""
    fuselage = corners(
        (-1, -0.16),
        (-0.6, -0.16),
        (0.6, -0.17),
        (0.85, -0.1),
        (1, 0.02),
        (0.85, 0.12),
        (0.5, 0.17),
        (-0.5, 0.15),
    )
    fin = corners((-1, -0.1), (-0.98, -0.55), (-0.78, -0.55), (-0.5, -0.1))
    wing = corners((0.25, 0.05), (-0.05, 0.05), (-0.5, 0.5), (-0.3, 0.52))
    far_wing = corners((0.2, -0.12), (-0.05, -0.12), (-0.3, -0.4), (-0.15, -0.4))
    return [fuselage, fin, wing, far_wing]


def aeroplane(surface: Surface) -> Colours:
    """Paint silver with a navy stripe, a row of windows and an orange tail."""
    u, v = surface.u, surface.v
    skin = surface.fill((0.8, 0.84, 0.9), 1.05 - 0.5 * np.abs(v))
    skin = blend(skin, (0.1, 0.2, 0.5), soft_step(0.035 - np.abs(v - 0.07), 0.03))
    window = (np.abs(v + 0.04) < 0.045) & ((u * 9) % 1 < 0.55) & (np.abs(u) < 0.7)
    skin = blend(skin, (0.12, 0.16, 0.25), window.astype(np.float32))
    return blend(skin, (0.85, 0.42, 0.08), soft_step(-0.72 - u + 0.3 * v, 0.04))


def boat_outline(rng: Generator) -> list[Polygon]:
    """Return a hull, a mast and two sails."""
    top = rng.uniform(-1, -0.85)
    hull = corners((-0.85, 0.45), (0.95, 0.42), (0.65, 0.85), (-0.6, 0.85))
    mainsail = corners((0.02, top), (0.02, 0.33), (-0.75, 0.33))
    jib = corners((0.1, top + 0.15), (0.8, 0.33), (0.1, 0.33))
    mast = corners((0.0, top), (0.08, top), (0.08, 0.5), (0.0, 0.5))
    return [hull, mainsail, jib, mast]


def boat(surface: Surface) -> Colours:
    """Paint a brown hull, a cream mainsail with seams and a jib with russet stripes."""
    u, v = surface.u, surface.v
    cloth = surface.fill((0.93, 0.82, 0.6), 0.92 + 0.1 * surface.noise(6, 6))
    cloth = blend(cloth, (0.7, 0.3, 0.2), soft_step(np.sin(16 * v) - 0.5, 0.3) * soft_step(u - 0.06, 0.04))
    cloth = blend(cloth, (0.6, 0.48, 0.32), 0.8 * soft_step(np.sin(20 * v) - 0.8, 0.2) * soft_step(-u, 0.04))
    hull = surface.fill((0.42, 0.17, 0.1), 0.85 + 0.2 * np.sin(45 * v))
    hull = blend(hull, (0.9, 0.88, 0.82), soft_step(0.5 - v, 0.04))
    return blend(cloth, hull, soft_step(v - 0.39, 0.03))


def bottle_outline(rng: Generator) -> list[Polygon]:
    """Return a neck, shoulders and a straight body."""
    shoulder, body = rng.uniform(-0.35, -0.15), rng.uniform(0.32, 0.42)
    half = [(0.14, -1), (0.14, shoulder - 0.22), (body, shoulder + 0.12), (body, 0.95), (body - 0.05, 1)]
    return [corners(*half, *((-x, y) for x, y in half[::-1]))]


def bottle(surface: Surface) -> Colours:
    """Paint green glass with a highlight, a gilt cap and a cream label."""
    u, v = surface.u, surface.v
    glass = surface.fill((0.07, 0.36, 0.17), 1.15 - 1.5 * np.abs(u) + 0.2 * surface.noise(5, 5))
    glass = blend(
        glass, (0.72, 0.92, 0.76), 0.8 * soft_step(0.03 - np.abs(u + 0.13), 0.04) * soft_step(v + 0.5, 0.2)
    )
    paper = surface.fill((0.9, 0.84, 0.66), 1.1 - 0.9 * np.abs(u))
    paper = blend(paper, (0.5, 0.08, 0.14), soft_step(0.07 - np.abs(v - 0.42), 0.03))
    paper = blend(
        paper,
        (0.3, 0.24, 0.18),
        soft_step(np.sin(40 * v) - 0.5, 0.4) * soft_step(0.2 - np.abs(u), 0.05) * 0.6,
    )
    labelled = blend(glass, paper, soft_step(0.3 - np.abs(v - 0.42), 0.03))
    return blend(labelled, (0.72, 0.56, 0.2), soft_step(-0.78 - v, 0.03))


def bus_outline(rng: Generator) -> list[Polygon]:
    """Return a long body on two wheels."""
    top = rng.uniform(-0.6, -0.45)
    body = corners((-1, top + 0.08), (-0.94, top), (0.9, top), (1, top + 0.3), (1, 0.4), (-1, 0.4))
    return [body, ellipse(-0.58, 0.4, 0.17, 0.17), ellipse(0.6, 0.4, 0.17, 0.17)]


def bus(surface: Surface) -> Colours:
    """Paint red with a row of blue-grey panes, a cream stripe and black wheels."""
    u, v = surface.u, surface.v
    coach = surface.fill((0.72, 0.08, 0.09), 0.95 + 0.12 * surface.noise(9, 5))
    coach = blend(coach, (0.93, 0.88, 0.74), soft_step(0.045 - np.abs(v - 0.12), 0.03))
    pane = ((u * 3.2 + 0.1) % 1 > 0.18) & (np.abs(v + 0.2) < 0.17) & (np.abs(u) < 0.97)
    glass = surface.fill((0.22, 0.34, 0.46), 0.7 + 0.7 * surface.noise(8, 3))
    coach = blend(coach, glass, pane.astype(np.float32))
    for axle in (-0.58, 0.6):
        distance = np.hypot(u - axle, v - 0.4)
        coach = blend(coach, (0.07, 0.07, 0.08), soft_step(0.2 - distance, 0.03))
        coach = blend(coach, (0.65, 0.65, 0.68), soft_step(0.08 - distance, 0.03))
    return coach


def plant_outline(rng: Generator) -> list[Polygon]:
    """Return a fan of leaves above a pot."""
    pot = corners(
        (-0.42, 0.3),
        (0.42, 0.3),
        (0.42, 0.42),
        (0.36, 0.45),
        (0.28, 1),
        (-0.28, 1),
        (-0.36, 0.45),
        (-0.42, 0.42),
    )
    tilts = np.linspace(-0.9, 0.9, rng.integers(5, 8)) + rng.uniform(-0.12, 0.12)
    leaves = [
        ellipse(0.72 * length * np.sin(tilt), 0.3 - 0.62 * length * np.cos(tilt), 0.17, 0.62 * length, tilt=tilt)
        for tilt, length in zip(tilts, rng.uniform(0.72, 1.0, len(tilts)), strict=True)
    ]
    return [pot, *leaves]


def potted_plant(surface: Surface) -> Colours:
    """Paint green ribbed leaves in a smooth clay pot."""
    u, v = surface.u, surface.v
    angle = np.arctan2(u, 0.45 - v)
    leaves = surface.fill((0.2, 0.47, 0.2), 0.85 + 0.3 * np.sin(26 * angle) + 0.25 * surface.noise(9, 9))
    clay = surface.fill((0.74, 0.37, 0.2), 1.1 - 0.9 * np.abs(u + 0.1) + 0.12 * surface.noise(12, 12))
    clay = blend(clay, (0.4, 0.17, 0.09), soft_step(0.03 - np.abs(v - 0.46), 0.03))
    return blend(leaves, clay, soft_step(v - 0.3, 0.02) * soft_step(0.43 - np.abs(u), 0.02))


def sheep_outline(rng: Generator) -> list[Polygon]:
    """Return scalloped wool, four legs, a head and an ear."""
    angle = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    curls = 1 + 0.05 * np.sin(11 * angle + rng.uniform(0, 6))
    wool = np.stack([0.74 * curls * np.cos(angle) - 0.1, 0.48 * curls * np.sin(angle) - 0.08], axis=1)
    legs = [corners((x, 0.2), (x + 0.2, 0.2), (x + 0.18, 0.8), (x + 0.02, 0.8)) for x in (-0.66, -0.38, 0.06, 0.34)]
    nod = rng.uniform(-0.12, 0.22)
    head = ellipse(0.76, -0.2 + nod, 0.27, 0.2, tilt=0.5)
    ear = ellipse(0.55, -0.3 + nod, 0.16, 0.06, tilt=-0.4)
    return [wool.astype(np.float32), *legs, head, ear]


def sheep(surface: Surface) -> Colours:
    """Paint cream curls, dark head and legs."""
    u, v = surface.u, surface.v
    curls = 0.6 * surface.noise(13, 11) + 0.4 * surface.noise(26, 22)
    wool = surface.fill((0.95, 0.9, 0.78), 0.55 + 0.75 * curls)
    inside = 1 - np.hypot((u + 0.1) / 0.76, (v + 0.08) / 0.5)
    skin = surface.fill((0.2, 0.15, 0.14), 0.8 + 0.5 * surface.noise(7, 7))
    return blend(skin, wool, soft_step(inside + 0.03, 0.08) * soft_step(0.6 - u, 0.05))


def bush_outline(rng: Generator) -> list[Polygon]:
    """Return three overlapping crowns."""
    return [
        ellipse(x, rng.uniform(-0.2, 0.25), rng.uniform(0.35, 0.55), rng.uniform(0.35, 0.6))
        for x in (-0.5, 0.0, 0.5)
    ]


def bush(surface: Surface) -> Colours:
    """Paint mottled dull green."""
    return surface.fill((0.34, 0.4, 0.2), 0.35 + 0.6 * surface.noise(16, 16) + 0.4 * surface.noise(7, 7))


def post_outline(rng: Generator) -> list[Polygon]:
    """Return a thin post with a lamp on top."""
    return [corners((-0.06, -0.8), (0.06, -0.8), (0.07, 1), (-0.07, 1)), ellipse(0, -0.84, 0.16, 0.16)]


def lamp_post(surface: Surface) -> Colours:
    """Paint dark iron and a warm lamp."""
    iron = surface.fill((0.16, 0.19, 0.22), 0.9 + 2.5 * surface.u.clip(-0.1, 0.1))
    return blend(iron, (1.0, 0.88, 0.55), soft_step(0.15 - np.hypot(surface.u, surface.v + 0.84), 0.06))


def rock_outline(rng: Generator) -> list[Polygon]:
    """Return a flat, irregular polygon."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(0.75, 1.0, 9)
    return [corners(*zip(radius * np.cos(angle), 0.7 * radius * np.sin(angle), strict=True))]


def rock(surface: Surface) -> Colours:
    """Paint rough grey-violet."""
    return surface.fill((0.42, 0.38, 0.42), 0.55 + 0.7 * surface.noise(5, 7) + 0.2 * surface.noise(18, 18))


def frame_outline(rng: Generator) -> list[Polygon]:
    """Return an upright or horizontal rectangle."""
    tall = rng.uniform(0.6, 1.0)
    return [corners((-0.8, -tall), (0.8, -tall), (0.8, tall), (-0.8, tall))]


def painting(surface: Surface) -> Colours:
    """Paint a pale landscape in a gilt frame."""
    inner = blend(
        surface.fill((0.5, 0.6, 0.66)),
        (0.42, 0.45, 0.25),
        soft_step(surface.v + 0.3 * surface.noise(4, 3), 0.1),
    )
    border = np.maximum(np.abs(surface.u) / 0.8, np.abs(surface.v) / 0.75)
    return blend(inner, (0.62, 0.46, 0.18), soft_step(border - 0.78, 0.05))


def cushion(surface: Surface) -> Colours:
    """Paint teal with cream dots."""
    dots = np.sin(12 * surface.u) * np.sin(12 * surface.v)
    return blend(surface.fill((0.2, 0.42, 0.46)), (0.88, 0.86, 0.75), soft_step(dots - 0.6, 0.2))


def dusk(surface: Surface) -> Colours:
    """Paint violet above and orange below, with horizontal streaks of cloud."""
    share = (surface.v * 1.6).clip(0, 1)
    glow = blend(surface.fill((0.42, 0.38, 0.62)), (0.98, 0.68, 0.46), share)
    streaks = 0.6 * surface.noise(3, 10) + 0.4 * surface.noise(6, 22)
    return blend(glow, (0.98, 0.82, 0.72), 0.7 * soft_step(streaks - 0.6, 0.3))


def swell(surface: Surface) -> Colours:
    """Paint dark blue waves with orange glints."""
    waves = 0.6 * surface.noise(10, 26) + 0.4 * surface.noise(24, 40)
    water = surface.fill((0.1, 0.24, 0.38), 0.55 + 0.9 * waves)
    return blend(water, (0.96, 0.75, 0.55), 0.75 * soft_step(waves - 0.72, 0.15))


def bricks(surface: Surface) -> Colours:
    """Paint red bricks with pale joints."""
    row = surface.v * 9
    column = surface.u * 4.5 + 0.5 * (np.floor(row) % 2)
    joint = np.minimum(np.minimum(column % 1, 1 - column % 1) * 2, np.minimum(row % 1, 1 - row % 1))
    shade = 0.85 + 0.2 * np.sin(12.9 * np.floor(column) + 78.2 * np.floor(row)) + 0.2 * surface.noise(60, 60)
    return blend(surface.fill((0.6, 0.31, 0.22), shade), (0.72, 0.68, 0.62), soft_step(0.09 - joint, 0.08))


def asphalt(surface: Surface) -> Colours:
    """Paint dark grains with a kerb above and a dashed line."""
    tar = surface.fill((0.33, 0.32, 0.37), 0.65 + 0.5 * surface.noise(100, 60) + 0.25 * surface.noise(6, 4))
    depth = surface.v - surface.v[0, 0]
    tar = blend(tar, (0.72, 0.7, 0.66), soft_step(0.05 - depth, 0.02))
    dash = soft_step(0.015 - np.abs(depth - 0.24), 0.015) * ((surface.u * 3) % 1 < 0.6)
    return blend(tar, (0.88, 0.86, 0.78), dash.astype(np.float32))


def hills(surface: Surface) -> Colours:
    """Paint pale sky over three blue and green ridges."""
    land = surface.fill((0.72, 0.72, 0.84), 0.95 + 0.1 * surface.noise(3, 2))
    bottom = float(surface.v.max())
    for rise, colour in ((0.3, (0.5, 0.5, 0.66)), (0.17, (0.38, 0.42, 0.5)), (0.08, (0.3, 0.38, 0.32))):
        phase, frequency = surface.rng.uniform(0, 6), surface.rng.uniform(3, 7)
        ridge = surface.v - bottom + rise + 0.06 * np.sin(frequency * surface.u + phase)
        land = blend(land, colour, soft_step(ridge, 0.02))
    return land


def stubble(surface: Surface) -> Colours:
    """Paint ochre straw."""
    straw = 0.5 * surface.noise(50, 14) + 0.3 * surface.noise(90, 30) + 0.25 * surface.noise(4, 4)
    field = surface.fill((0.62, 0.5, 0.2), 0.4 + 0.95 * straw)
    return blend(field, (0.34, 0.38, 0.16), 0.6 * soft_step(0.42 - straw, 0.2))


def wallpaper(surface: Surface) -> Colours:
    """Paint mauve stripes with pale sprigs."""
    stripe = soft_step(np.sin(2 * np.pi * 3.5 * surface.u), 0.3)
    sprig = soft_step(np.sin(22 * surface.u) * np.sin(22 * surface.v) - 0.55, 0.3)
    paper = blend(surface.fill((0.62, 0.5, 0.58)), (0.5, 0.36, 0.48), stripe)
    return blend(paper, (0.84, 0.76, 0.66), 0.8 * sprig * stripe)


def carpet(surface: Surface) -> Colours:
    """Paint dark red pile with gilt and navy diamonds."""
    diamond = np.abs((surface.u * 5) % 1 - 0.5) + np.abs((surface.v * 5) % 1 - 0.5)
    pile = surface.fill((0.42, 0.12, 0.13), 0.75 + 0.5 * surface.noise(80, 60))
    pile = blend(pile, (0.8, 0.66, 0.42), soft_step(0.06 - np.abs(diamond - 0.38), 0.04))
    return blend(pile, (0.12, 0.18, 0.34), soft_step(0.2 - diamond, 0.04))


BUSH = ObjectKind("bush", bush_outline, bush, turn=8, reach=(0.08, 0.24), height=(0.6, 1.0))
LAMP_POST = ObjectKind("lamp post", post_outline, lamp_post, turn=3, reach=(0.25, 0.5), height=(0.35, 0.7))
ROCK = ObjectKind("rock", rock_outline, rock, turn=15, reach=(0.06, 0.18), height=(0.55, 1.0))
PAINTING = ObjectKind("painting", frame_outline, painting, turn=3, reach=(0.1, 0.22), height=(0.05, 0.4))
CUSHION = ObjectKind("cushion", frame_outline, cushion, turn=30, reach=(0.1, 0.2), height=(0.6, 1.0))

FAMILY = Family(
    objects={
        1: ObjectKind("aeroplane", aeroplane_outline, aeroplane, turn=20, reach=(0.28, 0.48), height=(0.1, 0.45)),
        4: ObjectKind("boat", boat_outline, boat, turn=8, reach=(0.26, 0.46), height=(0.4, 0.75)),
        5: ObjectKind("bottle", bottle_outline, bottle, turn=8, reach=(0.3, 0.5), height=(0.4, 0.8)),
        6: ObjectKind("bus", bus_outline, bus, turn=5, reach=(0.28, 0.5), height=(0.45, 0.8)),
        16: ObjectKind("pottedplant", plant_outline, potted_plant, turn=6, reach=(0.26, 0.46), height=(0.4, 0.8)),
        17: ObjectKind("sheep", sheep_outline, sheep, turn=6, reach=(0.26, 0.46), height=(0.45, 0.85)),
    },
    backdrops=(
        Backdrop((dusk, swell), ((0.3, 0.6),), ("boat", "aeroplane"), (ROCK, BUSH)),
        Backdrop((bricks, asphalt), ((0.35, 0.6),), ("bus", "pottedplant"), (LAMP_POST, BUSH)),
        Backdrop((hills, stubble), ((0.3, 0.6),), ("sheep", "aeroplane"), (BUSH, ROCK, LAMP_POST)),
        Backdrop((wallpaper, carpet), ((0.35, 0.65),), ("bottle", "pottedplant"), (PAINTING, CUSHION)),
    ),
    clutter_in_front=True,
)
