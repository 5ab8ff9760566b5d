"""Figures of the experiments on masks, from their results."""

import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from palimpsest.explaining import names
from palimpsest.report.chart import COLOURS, drawn_on_white
from palimpsest.report.experiment_sentences import Shares, excess_of, half_width

HEIGHT = 2.4
"""Height of a figure in inches of 72 points."""
WIDTH = 8.6
FEW_TASKS = len(COLOURS)
"""Largest number of tasks that have a panel or a colour each; more are shown as their mean."""


def in_few_tasks(shares: Shares) -> Shares:
    """Return the rows as they are for up to `FEW_TASKS` tasks, otherwise their means over the tasks."""
    number = shares["task"].nunique()
    if number <= FEW_TASKS:
        return shares
    name = f"mean of {number} tasks"
    x = shares["x"].where(shares["x"] != shares["task"], name)
    by_seed = shares.assign(x=x).groupby(["seed", "condition", "x", "metric"], sort=False)["value"]
    return by_seed.mean().reset_index().assign(task=name)


def lines(quality: Shares, label: str) -> Figure:
    """Return curves of quality against a share, a panel per task, with a band of one standard deviation.

    label: label of the share.
    """
    tasks = [*dict.fromkeys(quality["task"])]
    figure, panels = new_figure(len(tasks))
    for axes, task in zip(panels, tasks, strict=True):
        axes.set(title=task, xlabel=label, ylim=LIMITS)
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        axes.set_xticks(ticks := [0, 1, 2, 5, 10, 20, 50, 100], [str(tick) for tick in ticks])
        for number, (condition, rows) in enumerate(by_condition(quality[quality["task"] == task])):
            values = rows.assign(x=100 * rows["x"].astype(float)).groupby("x")["value"]
            means, deviations = values.mean(), values.std().fillna(0)
            colour = COLOURS[number]
            shown = means.clip(*LIMITS)
            axes.plot(shown.index, shown, "o-", color=colour, markersize=3, linewidth=1.2, label=condition)
            axes.fill_between(means.index, means - deviations, means + deviations, color=colour, alpha=0.2, lw=0)
    return with_legend(figure, panels[0])


def zeros_by_position(zeros: Shares) -> Figure:
    """Return the share of zeros by class of magnitude, and by offset in the kernel, a line or bar per task."""
    figure, (left, right) = new_figure(2)
    left.set(ylabel="zeros (%)", xlabel="class of magnitude, the largest weights last")
    right.set_xticks(range(len(names.OFFSETS)), [*names.OFFSETS.values()])
    right.set_xlabel("offset in kernels of 3 × 3")
    left.set_title("dashed: scores equal at first", fontsize="small")
    for number, (task, rows) in enumerate(zeros.groupby("task", sort=False)):
        style_of: dict[str, Any] = {"color": COLOURS[number], "label": str(task)}
        for condition, line in ((names.BY_MAGNITUDE, "o-"), (names.AFTER_EQUAL_START, "--")):
            by_class = rows[rows["condition"] == condition]
            means = by_class.assign(x=by_class["x"].astype(float)).groupby("x")["value"].mean()
            left.plot(means.index, means, line, markersize=3, linewidth=1.2, **style_of)
            style_of.pop("label", None)  # one entry per task in the legend
        by_offset = rows[rows["condition"] == names.BY_OFFSET]
        means = by_offset.groupby("x", sort=False)["value"].mean()
        right.plot(range(len(means)), means, "o", markersize=5, **style_of)
    left.set_ylim(bottom=0)
    return with_legend(figure, left)


def similarities(shares: Shares) -> Figure:
    """Return the similarity of each pair of masks above that of independent masks, with intervals over the seeds.

    The intervals are those of 95 % confidence; with one seed there are none.
    """
    excess = excess_of(shares)
    pairs = [f"{row.task}, {row.condition}" for row in excess.itertuples()]
    means = excess.assign(pair=pairs).groupby("pair")["value"].agg(["mean", half_width]).sort_values("mean")
    figure = Figure((WIDTH, 0.6 + 0.2 * len(means)), dpi=72, layout="constrained")
    axes = figure.add_subplot(xlabel="similarity above that of independent masks (percentage points)")
    colours = [COLOURS[1] if names.SAME_TASK in pair else COLOURS[0] for pair in means.index]
    axes.barh(range(len(means)), means["mean"], xerr=means["half_width"].fillna(0), color=colours, error_kw=BAR)
    axes.set_yticks(range(len(means)), [*means.index])
    axes.grid(visible=False, axis="y")
    return figure


def sizes_by_context(shares: Shares) -> Figure:
    """Return the size of masks at their entropy by the context of the frequencies, a mark per task."""
    conditions = [*dict.fromkeys(shares["condition"])]
    figure = Figure((WIDTH, 0.9 + 0.2 * len(conditions)), dpi=72, layout="constrained")
    axes = figure.add_subplot(xlabel="size (% of one bit per weight)")
    for number, (task, rows) in enumerate(shares.groupby("task", sort=False)):
        means = rows.groupby("condition", sort=False)["value"].mean()
        at = [conditions.index(name) for name in means.index]
        axes.plot(means, at, "o", markersize=5, color=COLOURS[number], label=str(task))
    axes.set_yticks(range(len(conditions)), conditions)
    axes.invert_yaxis()
    return with_legend(figure, axes)


def zeros_by_weights(zeros: Shares) -> Figure:
    """Return the share of zeros against the number of weights, a line per kind of task."""
    figure, (axes,) = new_figure(1)
    axes.set(ylabel="zeros (%)", xlabel="weights of the network")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(places=0))
    axes.xaxis.set_minor_formatter(NullFormatter())
    for number, (condition, rows) in enumerate(by_condition(zeros[zeros["metric"] == "zeros"])):
        by_seed = rows.assign(x=rows["x"].astype(float)).groupby(["seed", "x"])["value"].mean()
        values = by_seed.groupby("x")
        axes.errorbar(
            values.mean().index,
            values.mean(),
            yerr=values.std().fillna(0),
            fmt="o-",
            markersize=4,
            linewidth=1.2,
            color=COLOURS[number],
            label=condition,
        )
    return with_legend(figure, axes)


def bars(quality: Shares) -> Figure:
    """Return bars of quality by condition, a group per value of x, a panel per task."""
    tasks = [*dict.fromkeys(quality["task"])]
    figure, panels = new_figure(len(tasks))
    conditions = [*dict.fromkeys(quality["condition"])]
    for axes, task in zip(panels, tasks, strict=True):
        of_task = quality[quality["task"] == task]
        groups = [*dict.fromkeys(of_task["x"])]
        axes.set(title=task, ylim=LIMITS)
        labels = ["" if group == task else textwrap.fill(group, LABEL_WIDTH) for group in groups]
        axes.set_xticks(range(len(groups)), labels)
        axes.grid(visible=False, axis="x")
        width = 0.8 / len(conditions)
        for number, (condition, rows) in enumerate(by_condition(of_task)):
            values = rows.groupby("x", sort=False)["value"]
            positions = [groups.index(x) + (number - (len(conditions) - 1) / 2) * width for x in values.groups]
            means, deviations = values.mean(), values.std().fillna(0)
            axes.bar(positions, means.clip(*LIMITS), width, color=COLOURS[number], label=condition)
            axes.errorbar(positions, means, yerr=deviations, fmt="none", **BAR)
    return with_legend(figure, panels[0])


def matrix(quality: Shares) -> Figure:
    """Return the quality of each condition (rows) for each task (columns) as a matrix of numbers."""
    means = quality.groupby(["condition", "task"])["value"].mean()
    rows, columns = ([*dict.fromkeys(quality[name])] for name in ("condition", "task"))
    values = np.array([[means.get((row, column), np.nan) for column in columns] for row in rows])
    figure = Figure((1.6 + 1.1 * len(columns), 0.6 + 0.32 * len(rows)), dpi=72, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(values, cmap="Greys", vmin=0, vmax=160, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    for row, column in np.ndindex(values.shape):
        if np.isfinite(values[row, column]):
            axes.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center")
    return figure


LIMITS = (-20, 120)
"""Limits of quality in figures, in per cent; lower values lie on the edge."""
BAR: dict[str, Any] = {"linewidth": 0.8, "ecolor": "black"}
"""Style of the bars of one standard deviation."""
LABEL_WIDTH = 16
"""Largest number of characters in a line of the labels under bars."""


def new_figure(panels: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side that share their vertical axis."""
    figure = Figure((WIDTH, HEIGHT), dpi=72, layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    axes[0].set_ylabel("quality (%)")
    return figure, [*axes]


def with_legend(figure: Figure, axes: Axes) -> Figure:
    """Return the figure with the legend of one panel below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def by_condition(quality: Shares) -> list[tuple[str, pd.DataFrame]]:
    """Return each condition with its rows, in the order of the table."""
    return [(str(name), rows) for name, rows in quality.groupby("condition", sort=False)]


FIGURES: dict[str, Callable[[Shares], Figure]] = {
    "dropped": drawn_on_white(zeros_by_position),
    "alike": drawn_on_white(similarities),
    "shorter": drawn_on_white(sizes_by_context),
    "kinds": drawn_on_white(zeros_by_weights),
    "flipped": drawn_on_white(partial(lines, label="flipped bits (%)")),
    "important": drawn_on_white(partial(lines, label="zeros that stay (%)")),
    **dict.fromkeys(("signs", "rescaled", "shuffled", "parts"), drawn_on_white(bars)),
    **dict.fromkeys(("bases", "exchanged"), drawn_on_white(matrix)),
}
"""Function that draws the figure of each experiment."""
