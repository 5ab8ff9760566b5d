"""Figures with a legend: losses of the trainings, quality against steps, and zeros in each layer of the masks."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from palimpsest.analysis.tables import columns_of, require_columns
from palimpsest.methods import BASES, METHODS
from palimpsest.metrics.described import format_value, metric_title
from palimpsest.report.ablation import Curve
from palimpsest.report.chart import COLOURS, POINT, Chart, Position, as_svg, drawn_in_style, identifier
from palimpsest.report.summary import Matrix

WIDTH = 4.4
"""Width of a figure in inches of 72 points; its text is readable on a phone."""
LINE = 0.16
"""Height of a line of text in inches."""
FONT = 7.5
"""Size of the font of a legend in points."""
DASHES = "-", (0, (4, 2)), (0, (1, 1.5))
MARKERS = "os^D"
LOSS = "loss"
"""Name of the loss of a task in `losses.csv`; other parts are its summands and the penalty of a method."""


class Series(NamedTuple):
    """Points of one name, with an entry in the legend."""

    name: str
    number: int
    """Number that determines colour, dashes and marker; the same in all figures of the page."""
    points: Sequence[Position]
    titles: Sequence[str]
    """Tooltip of each point."""
    deviations: Sequence[float] = ()
    """Half the height of the band around each point; empty without a band."""

    @property
    def style(self) -> dict[str, Any]:
        """Colour, dashes and marker for matplotlib."""
        return {
            "color": COLOURS[self.number % len(COLOURS)],
            "linestyle": DASHES[self.number // len(COLOURS) % len(DASHES)],
            "marker": MARKERS[self.number % len(MARKERS)],
        }


def learning_charts(losses: pd.DataFrame, matrix: Matrix, methods: Sequence[str]) -> list[Chart]:
    """Return a figure per task with recorded losses: the loss of each training against its steps.

    losses: the table of `losses.csv`. The base network that several methods share has one line, with the name of
    its training. Several seeds give the mean, with a band of one standard deviation.

    Raises:
        DataError: the table lacks a column.
    """
    require_columns(losses, columns_of("losses"), "losses.csv")
    of_loss = losses[losses["name"] == LOSS]
    numbers = {training: number for number, training in enumerate([*methods, *BASES])}
    charts = []
    for index, (task, _) in enumerate(matrix.sequence):
        series = []
        for training, method in {training_of(name, is_base=index == 0): name for name in methods}.items():
            values = of_loss[(of_loss["task"] == task) & (of_loss["method"] == method)].groupby("step")["value"]
            if len(values):
                means, deviations = values.mean(), [*values.std()]
                steps = means.index.to_numpy(dtype=int).tolist()
                series.append(
                    Series(
                        training,
                        numbers[training],
                        [*zip(steps, means, strict=True)],
                        [f"{training}, step {step}: {mean:.4g}" for step, mean in zip(steps, means, strict=True)],
                        deviations if all(map(math.isfinite, deviations)) else (),
                    )
                )
        if series:
            last = ", ".join(f"{one.name} {one.points[-1][1]:.3g}" for one in series)
            description = f"Training loss of {task} against training steps. In the last epoch: {last}."
            figure = line_figure(series, f"loss of {task}", logarithmic="y")
            charts.append(Chart(as_svg(figure, identifier("loss", task), titles_of(series)), description))
    return charts


def training_of(method: str, *, is_base: bool) -> str:
    """Return the name of the training behind a method's task: the method, or that of the base network it shares."""
    entry = METHODS.get(method)
    return entry.base_training if entry and is_base and not entry.learns_base_task else method


def curve_chart(curve: Curve, methods: Sequence[str]) -> Chart:
    """Return the figure of a task's key metric against the number of training steps, with a line per method.

    methods: all methods of the page, which determine the colours.
    """
    order = list(dict.fromkeys([*methods, *curve.points]))
    series = [
        Series(
            method,
            order.index(method),
            [(steps, mean) for steps, mean, *_ in points],
            [f"{method}, {steps} steps: {format_value(curve.metric, mean)}" for steps, mean, *_ in points],
            [deviation if math.isfinite(deviation) else 0.0 for *_, deviation, _ in points],
        )
        for method, points in curve.points.items()
        if points
    ]
    title = f"{curve.task}: {metric_title(curve.metric)}"
    figure = line_figure(series, title, logarithmic="x")
    svg = as_svg(figure, identifier("curve", curve.task), titles_of(series))
    return Chart(svg, f"{title} against training steps.")


@drawn_in_style
def line_figure(series: Sequence[Series], title: str, logarithmic: Literal["x", "y"]) -> Figure:
    """Return the figure of values (y) against training steps (x), a line per series.

    title: label of y. A logarithmic x has ticks at the points; y is logarithmic only if all values are above 0.
    """
    figure, axes = new_axes(series, 3.0)
    axes.set(xlabel="training steps", ylabel=title)
    if logarithmic == "x":
        axes.set_xscale("log")
        steps = sorted({x for one in series for x, _ in one.points})
        axes.set_xticks(steps, [f"{step:,.0f}" for step in steps])
        axes.minorticks_off()
    elif all(y > 0 for one in series for _, y in one.points):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=20))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    for one in series:
        x, y = zip(*one.points, strict=True)
        axes.plot(x, y, **{**one.style, "marker": ""}, linewidth=1.3)
        if one.deviations:
            low, high = ([v + sign * d for v, d in zip(y, one.deviations, strict=True)] for sign in (-1, 1))
            axes.fill_between(x, low, high, color=one.style["color"], alpha=0.15, linewidth=0)
    draw_points(axes, series, size=3)
    return figure


APART = {"first convolution": "encoder.stages.0.0", "fifth stage": "encoder.stages.4."}
"""Parts of the U-Net whose zeros the study shows, by the start of the names of their layers."""


def zero_charts(zeros: pd.DataFrame, matrix: Matrix, methods: Sequence[str]) -> list[tuple[str, Chart]]:
    """Return (method, figure) for each method with masks: the share of zeros in each layer, by task.

    The first convolution and the fifth stage are above the layers, as the study shows them. zeros: the table of
    `zeros.csv`.
    """
    charts = []
    order = [task for task, _ in matrix.sequence]
    for method in methods:
        selected = zeros[zeros["method"] == method]
        layers = list(dict.fromkeys(selected["layer"]))
        apart = [name for name, start in APART.items() if any(layer.startswith(start) for layer in layers)]
        rows = [*apart, *([""] if apart else []), *layers]
        tasks = [task for task in dict.fromkeys([*order, *selected["task"]]) if task in set(selected["task"])]
        series = []
        for task in tasks:
            of_task = selected[selected["task"] == task]
            parts = {name: of_task[of_task["layer"].str.startswith(APART[name])] for name in apart}
            shares = {name: share_of_zeros(part) for name, part in parts.items()} | {
                str(layer): 100 * float(share) for layer, share in of_task.groupby("layer")["zeros"].mean().items()
            }
            series.append(
                Series(
                    f"{task}: {share_of_zeros(of_task):.1f} % in all",
                    (order.index(task) if task in order else len(order)),
                    [(shares[row], float(number)) for number, row in enumerate(rows) if row in shares],
                    [f"{row}, {task}: {shares[row]:.2f} %" for row in rows if row in shares],
                )
            )
        if series:
            figure = zero_figure([row.removesuffix(".weight") for row in rows], series)
            svg = as_svg(figure, identifier("zeros", method), titles_of(series))
            names = ", ".join(one.name for one in series)
            charts.append((method, Chart(svg, f"Share of zeros per layer in the masks of {method}. {names}.")))
    return charts


def share_of_zeros(layers: pd.DataFrame) -> float:
    """Return the share of zeros in all weights of some layers, rows of `zeros.csv`, in per cent."""
    return float(100 * (layers["zeros"] * layers["weights"]).sum() / layers["weights"].sum())


@drawn_in_style
def zero_figure(layers: Sequence[str], series: Sequence[Series]) -> Figure:
    """Return the figure of shares in per cent (x) by layer (y), the first layer at the top."""
    figure, axes = new_axes(series, LINE * (len(layers) + 3), lines=False)
    axes.set_xlabel("zeros (% of the layer's weights)")
    axes.yaxis.set_major_locator(FixedLocator(range(len(layers))))
    axes.set_yticklabels(layers)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    draw_points(axes, series, size=5)
    axes.set_xlim(left=0)
    return figure


def new_axes(series: Sequence[Series], height: float, *, lines: bool = True) -> tuple[Figure, Axes]:
    """Return a new figure with a legend below its only axes.

    height: in inches, without the legend. lines: whether lines join the points.
    """
    width = FONT * (4 + 0.58 * max(len(one.name) for one in series))  # of an entry, with its mark and space
    columns = max(1, min(3, int(72 * WIDTH / width)))
    figure = Figure((WIDTH, height + LINE * math.ceil(len(series) / columns)), dpi=72, layout="constrained")
    styles = [one.style if lines else {**one.style, "linestyle": ""} for one in series]
    entries = [Line2D([], [], **of, markersize=4, label=one.name) for one, of in zip(series, styles, strict=True)]
    figure.legend(handles=entries, loc="outside lower left", ncols=columns, frameon=False, fontsize=FONT)
    return figure, figure.add_subplot()


def draw_points(axes: Axes, series: Sequence[Series], size: float) -> None:
    """Draw the marks of all points, in the order of `titles_of`."""
    points = [(one, point) for one in series for point in one.points]
    for number, (one, (x, y)) in enumerate(points):
        axes.plot(x, y, **{**one.style, "linestyle": ""}, markersize=size, gid=f"{POINT}{number}")


def titles_of(series: Sequence[Series]) -> list[str]:
    """Return the tooltips of all points."""
    return [title for one in series for title in one.titles]
