"""Figures as SVG by matplotlib, and the scatter plot of quality; the page supplies colours and font.

Only the report imports this module, because importing matplotlib is slow.
"""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

import textalloc
from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from palimpsest.analysis.accounting import MIB
from palimpsest.settings import REFERENCE

SIZE = 7.9, 4.8
"""Width and height of the scatter plot in inches of 72 points."""

INK, SOFT, RULE, PAPER = "#1b1b1a", "#66645f", "#d9d7d1", "#fefefe"
COLOURS = "#0072b2", "#d55e00", "#009e73", "#a0528a", "#8a6d00", "#444444"
"""Colours of series, `--s0` to `--s5` of the page."""
THEME = {
    **{colour: f"var(--s{number})" for number, colour in enumerate(COLOURS)},
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    "'DejaVu Sans', sans-serif": "var(--sans)",  # a wide font, so that labels do not overlap in other fonts
}
"""CSS variable of the page that replaces each colour and font in the SVG."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "palimpsest",
    "font.family": "sans-serif",
    "font.sans-serif": "DejaVu Sans",
    "font.size": 8.0,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.bottom": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "axes.xmargin": 0.08,
    "axes.ymargin": 0.08,
}
ON_WHITE = {**STYLE, "figure.facecolor": "white", "svg.fonttype": "path", "legend.frameon": False}
POINT = "point-"
"""Start of the id of a point in a figure; its index follows."""
drawn_in_style = style.context(["default", STYLE])
"""Decorator for functions that draw; the figure does not depend on the user's matplotlibrc."""
drawn_on_white = style.context(["default", ON_WHITE])
"""The same for figures in files of their own, without a style sheet."""

Position = tuple[float, float]
"""x and y in data coordinates."""


class Point(NamedTuple):
    """Point of the scatter plot."""

    x: float
    y: float
    title: str
    """Tooltip of the point."""
    strong: bool
    """True for a filled point, False for an empty one."""
    deviation: float = 0.0
    """Half the length of the vertical bar through the point."""


class Chart(NamedTuple):
    """Finished figure for the page."""

    svg: Markup
    description: str
    """Alternative text for screen readers."""


def quality_chart(positions: Mapping[str, Position], spread: Mapping[str, float], front: Sequence[str]) -> Chart:
    """Return the figure of quality against bytes per added task, with the Pareto front as a line.

    positions: (bytes, quality) by method, quality as a ratio; at least one method, all values finite, bytes above
    zero. spread: standard deviation of the quality by method, NaN if unknown. front: methods on the front.
    """
    points = quality_points(positions, spread, front)
    description = (
        f"Final quality in per cent of {REFERENCE} against bytes per added task. "
        f"On the Pareto front: {', '.join(front) or 'none'}."
    )
    titles = [point.title for point in points.values()]
    return Chart(as_svg(drawn_in_style(quality_figure)(points), "quality", titles), description)


@drawn_on_white
def quality_file(positions: Mapping[str, Position], spread: Mapping[str, float], front: Sequence[str]) -> bytes:
    """Return the figure of `quality_chart` as the content of an SVG file."""
    return as_file(quality_figure(quality_points(positions, spread, front)))


def quality_points(
    positions: Mapping[str, Position], spread: Mapping[str, float], front: Sequence[str]
) -> dict[str, Point]:
    """Return the points of the figure of quality by method; for the parameters see `quality_chart`."""
    return {
        name: Point(
            cost,
            100 * quality,
            f"{name}: {100 * quality:.1f} %, {format_bytes(cost)}",
            strong=name in front,
            deviation=100 * spread[name] if math.isfinite(spread[name]) else 0.0,
        )
        for name, (cost, quality) in positions.items()
    }


def quality_figure(points: Mapping[str, Point]) -> Figure:
    """Return the figure of quality in per cent (y) against bytes (x); the strong points form the Pareto front."""
    figure = Figure(SIZE, dpi=72)
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.11, top=0.99)
    axes = figure.add_subplot(
        xlabel="bytes per added task, needed to run (logarithmic)", ylabel=f"final quality (% of {REFERENCE})"
    )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: format_bytes(count)))
    front = sorted((point.x, point.y) for point in points.values() if point.strong)
    end = max(point.x for point in points.values())
    draw(axes, points, [*staircase(front, end)] if front else [], level=100.0)
    return figure


def draw(axes: Axes, points: Mapping[str, Point], front: Sequence[Position], level: float) -> None:
    """Draw points with their names into `axes`, a line through the corners of the front, and one at `level`.

    Names avoid points, lines, bars and each other as far as space allows.
    """
    bars = [[(p.x, p.y - p.deviation), (p.x, p.y + p.deviation)] for p in points.values() if p.deviation]
    lines = [[*front]] if front else []
    for line, width in (*((line, 1.2) for line in lines), *((bar, 0.8) for bar in bars)):
        axes.plot(*zip(*line, strict=True), color=INK, linewidth=width)
    axes.axhline(level, color=SOFT, linewidth=0.8, linestyle=(0, (5, 4)))
    for number, point in enumerate(points.values()):
        fill = INK if point.strong else PAPER
        axes.plot(point.x, point.y, "o", markersize=6, mec=INK, mfc=fill, gid=f"{POINT}{number}")
    axes.autoscale_view()
    obstacles = [*lines, *bars, [(end, level) for end in axes.get_xlim()]]
    positions = [point.x for point in points.values()], [point.y for point in points.values()]
    textalloc.allocate(
        axes,
        *positions,
        list(points),
        x_scatter=positions[0],
        y_scatter=positions[1],
        x_lines=[[corner[0] for corner in line] for line in obstacles],
        y_lines=[[corner[1] for corner in line] for line in obstacles],
        textsize=8,
        textcolor=INK,
        linecolor=SOFT,
        linewidth=0.7,
        min_distance=0.01,
        max_distance=0.3,
        margin=0.005,
        avoid_label_lines_overlap=True,
        avoid_crossing_label_lines=True,
    )


def identifier(kind: str, name: str) -> str:
    """Return the id of a figure from its kind and a name, such as that of a task."""
    return f"{kind}-" + re.sub(r"\W", "-", name)


@drawn_in_style
def as_svg(figure: Figure, prefix: str, titles: Sequence[str]) -> Markup:
    """Return a figure as an SVG element with selectable text and tooltips; equal figures give equal bytes.

    prefix: prefix of the element ids, different for each figure of the page. titles: tooltips of the points, whose
    `gid` is `POINT` and their index.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = re.sub(
        r' xmlns(:\w+)?="[^"]*"|<defs>\s*<style.*?</defs>', "", text[text.index("<svg") :], flags=re.DOTALL
    )
    for literal, variable in THEME.items():
        text = text.replace(literal, variable)
    for number, title in enumerate(titles):
        start = f'<g id="{POINT}{number}">'
        text = text.replace(start, f"{start}<title>{escape(title)}</title>")
    return Markup(re.sub(r'(\bid="|"#|\(#)', rf"\g<1>{prefix}-", text))


@drawn_on_white
def as_file(figure: Figure) -> bytes:
    """Return a figure as the content of an SVG file; equal figures give equal bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return file.getvalue()


def format_bytes(count: float) -> str:
    """Return a number of bytes as text in B, KiB or MiB, with about three significant digits."""
    unit, name = next(((u, n) for u, n in ((MIB, "MiB"), (1024, "KiB")) if count >= u), (1, "B"))
    value = count / unit
    return f"{value:,.{0 if value >= 100 else 1}f}".removesuffix(".0") + f" {name}"


def staircase(front: Sequence[Position], end: float) -> Iterator[Position]:
    """Yield the corners of the line through the Pareto front; it separates dominated points from all others.

    front: (bytes, quality) of the points on the front, by ascending bytes. end: x at which the line ends.
    """
    yield front[0]
    for (_, quality), (cost, next_quality) in pairwise(front):
        yield cost, quality
        yield cost, next_quality
    yield end, front[-1][1]
