"""Figures of points with names: their axes, and where each name stands so that all can be read.

Laid out in pixels from the upper left corner, and drawn by the template.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

WIDTH, HEIGHT = 760, 460
CHARACTER, LINE = 6.0, 13.0  # an average letter of a label is at most so wide, and a line so high
ROUNDS = 3  # in which labels look for their places
SYMBOL = 6.0  # half the side of the square that a symbol keeps free


Context = dict[str, Any]


class Point(NamedTuple):
    """A place in the figure."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle of the figure."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Whether both have a part in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def within(self, other: "Box") -> bool:
        """Whether it lies in another."""
        return other.holds(Point(self.left, self.top)) and other.holds(Point(self.right, self.bottom))

    def holds(self, point: Point) -> bool:
        """Whether a point lies inside."""
        return self.left < point.x < self.right and self.top < point.y < self.bottom

    def nearest(self, point: Point) -> Point:
        """The place of the rectangle that is nearest to a point."""
        return Point(min(max(point.x, self.left), self.right), min(max(point.y, self.top), self.bottom))


PLOT = Box(58, 14, 732, 408)
"""What the axes enclose."""


class Axis(NamedTuple):
    """What one direction of a figure shows."""

    title: str
    ticks: Mapping[float, str]
    """The values that are marked, in ascending order, and how each is written; the axis ends with the last."""
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value stands: 0 at its first tick, 1 at its last."""
        scale = math.log2 if self.logarithmic else float
        at, low, high = (scale(number) for number in (value, min(self.ticks), max(self.ticks)))
        return (at - low) / (high - low)


class Mark(NamedTuple):
    """A point of a figure, in the values of its axes."""

    x: float
    y: float
    says: str
    """What is told of it where there is room for a sentence."""
    strong: bool
    deviation: float = 0.0
    """Of y: how far its bar reaches up and down."""


def scatter(
    marks: Mapping[str, Mark],
    across: Axis,
    up: Axis,
    *,
    says: str,
    level: float,
    lines: Sequence[Sequence[tuple[float, float]]],
) -> Context:
    """A figure of marks by their names, as the template draws it.

    says: the figure in a sentence. level: the value of y that is drawn through. lines: the corners of each.
    """

    def right(x: float) -> float:
        return round(PLOT.left + (PLOT.right - PLOT.left) * across.share(x), 1)

    def down(y: float) -> float:
        return round(PLOT.bottom - (PLOT.bottom - PLOT.top) * up.share(y), 1)

    points = {name: Point(right(mark.x), down(mark.y)) for name, mark in marks.items()}
    drawn = [[Point(right(x), down(y)) for x, y in line] for line in lines]
    through = Box(PLOT.left, down(level) - 1, PLOT.right, down(level) + 1)
    labels = placed(points, [*(box for line in drawn for box in straight(line)), through])
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "edges": PLOT._asdict(),
        "says": says,
        "x_title": across.title,
        "y_title": up.title,
        "x_ticks": [{"x": right(tick), "text": text} for tick, text in across.ticks.items()],
        "y_ticks": [{"y": down(tick), "text": text} for tick, text in up.ticks.items()],
        "level": down(level),
        "paths": ["M" + "L".join(f"{point.x} {point.y}" for point in line) for line in drawn],
        "points": [
            {
                "name": name,
                "strong": mark.strong,
                "x": points[name].x,
                "y": points[name].y,
                "low": down(mark.y - mark.deviation),
                "high": down(mark.y + mark.deviation),
                "says": mark.says,
                "label": {"x": labels[name].left, "y": round(labels[name].bottom - 3, 1)},
                "leader": leader(points[name], labels[name]),
            }
            for name, mark in marks.items()
        ],
    }


def straight(line: Sequence[Point]) -> Iterator[Box]:
    """The level and upright parts of a line as rectangles, for labels to keep clear of."""
    for one, other in pairwise(line):
        if one.y == other.y:
            yield Box(min(one.x, other.x), one.y - 1, max(one.x, other.x), one.y + 1)
        elif one.x == other.x:
            yield Box(one.x - 1, min(one.y, other.y), one.x + 1, max(one.y, other.y))


def share_axis(title: str, values: Sequence[float], signed: bool = False) -> Axis:
    """An axis in per cent around all values."""
    form = "+d" if signed else "d"
    return Axis(title, {tick / 100: f"{tick:{form}}".replace("-", "−") for tick in share_ticks(values)})


def share_ticks(values: Sequence[float]) -> list[int]:
    """Round per cents around all values, at most nine."""
    low, high = 100 * min(values), 100 * max(values)
    hundreds = 100 * math.ceil((high - low) / 700)
    step = next((step for step in (1, 2, 5, 10, 20, 50) if high - low <= 7 * step), hundreds)
    return steps_around(low, high, step)


def steps_around(low: float, high: float, step: int) -> list[int]:
    """Multiples of a step from the last that is not above ``low`` to the first not below ``high``; at least two."""
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def placed(points: Mapping[str, Point], lines: Sequence[Box]) -> dict[str, Box]:
    """Where each label stands: as near to its point as leaves all labels, symbols and lines free.

    A label that stands off its point is led to it by a line, which keeps clear of other labels and symbols. Those
    in the thickest crowd choose first; then each chooses again among all others, a few times or until none finds a
    better place. Where nothing is free, what disturbs least is covered or crossed.
    """

    def crowd(name: str) -> int:
        return sum(math.dist(points[name], other) < 80 for other in points.values())

    symbols = {n: Box(p.x - SYMBOL, p.y - SYMBOL, p.x + SYMBOL, p.y + SYMBOL) for n, p in points.items()}
    labels: dict[str, Box] = {}

    def disturbed(name: str, box: Box) -> float:
        point, others = points[name], [(points[other], label) for other, label in labels.items() if other != name]
        way = (point, box.nearest(point))
        return (
            1000 * sum(box.overlaps(label) for _, label in others)
            + 200 * sum(map(box.overlaps, symbols.values()))
            + 50 * sum(crosses(way, label) for _, label in others)
            + 50 * sum(crosses((other, label.nearest(other)), box) for other, label in others)
            + 10 * sum(map(box.overlaps, lines))
            + 2 * sum(crosses(way, symbol) for symbol in symbols.values() if not symbol.holds(point))
        )

    for _ in range(ROUNDS):
        before = dict(labels)
        for name in sorted(points, key=lambda name: (-crowd(name), points[name], name)):
            least = math.inf
            for box in around_point(points[name], CHARACTER * len(name)):
                far = math.dist(points[name], box.nearest(points[name])) / 20
                if far >= least:  # and the places that follow are no nearer
                    break
                found = disturbed(name, box) + far
                if found < least:
                    labels[name], least = box, found
        if labels == before:
            break
    return labels


def around_point(point: Point, width: float) -> Iterator[Box]:
    """Places for a label of this width, the nearest first: beside, above, below, then in wider and wider rings."""
    for distance in (SYMBOL + 2, *range(16, 200, 12)):
        for turn in range(16):
            angle = math.pi * (0, 8, 4, 12, 1, 15, 7, 9, 2, 14, 6, 10, 3, 13, 5, 11)[turn] / 8
            x, y = point.x + distance * math.cos(angle), point.y - distance * math.sin(angle)
            left = x - width * (1 - math.cos(angle)) / 2
            top = y - LINE * (1 + math.sin(angle)) / 2
            box = Box(*(round(edge, 1) for edge in (left, top, left + width, top + LINE)))
            if box.within(PLOT):
                yield box


def crosses(line: tuple[Point, Point], box: Box) -> bool:
    """Whether a line goes through a rectangle; by the parts of it between its edges (Liang and Barsky 1984)."""
    start, end = line
    first, last = 0.0, 1.0
    for origin, way, low, high in (
        (start.x, end.x - start.x, box.left, box.right),
        (start.y, end.y - start.y, box.top, box.bottom),
    ):
        if way:
            enters, leaves = sorted(((low - origin) / way, (high - origin) / way))
            first, last = max(first, enters), min(last, leaves)
        elif not low < origin < high:
            return False
    return first < last


def leader(point: Point, label: Box) -> Point | None:
    """Where the line from a point to its label ends; None where they are so near that it needs none."""
    end = label.nearest(point)
    return end if math.dist(point, end) > SYMBOL + 3 else None
