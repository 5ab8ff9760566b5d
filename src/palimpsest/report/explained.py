"""Page of the experiments on masks, from the table of all results: a figure and a sentence for each question."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from palimpsest.analysis.conditions import describe_conditions
from palimpsest.explaining import EXPERIMENTS, bases, bits, kinds, masks, parts
from palimpsest.report.chart import COLOURS, STYLE
from palimpsest.report.sweep import QUALITY
from palimpsest.storage.atomic import write_bytes, write_text

COLUMNS = ["experiment", "seed", "task", "condition", "x", "metric", "value"]
"""Columns of the table of all experiments."""
PAGE = "why-it-works.md"
HEIGHT = 2.4
"""Height of a figure in inches of 72 points."""
WIDTH = 8.6
ON_WHITE = {**STYLE, "figure.facecolor": "white", "svg.fonttype": "path", "legend.frameon": False}
"""Style of the figures; they lie beside the page and have no style sheet."""

IN_PER_CENT = (QUALITY, "zeros", "similarity", "independent", "bits")
"""Metrics that the page shows; they are shares."""
Quality = pd.DataFrame
"""Quality of one experiment, or another share, in per cent: columns task, condition, x, value; a row per seed."""


def write_page(results: pd.DataFrame, conditions: Mapping[str, Any], destination: Path) -> None:
    """Write the page `PAGE` into a folder, and its figures into a subfolder.

    results: table with `COLUMNS`. conditions: those of `collect_conditions`.
    """
    sections = []
    for name, experiment in EXPERIMENTS.items():
        rows = results[(results["experiment"] == name) & results["metric"].isin(IN_PER_CENT)]
        if rows.empty:
            continue
        percentages = rows.assign(value=100 * rows["value"])
        figure_path = Path(PAGE).stem + f"/{name}.svg"
        write_bytes(destination / figure_path, as_file(FIGURES[name](percentages)))
        sentence = SENTENCES[name](percentages)
        sections.append(f"## {experiment.question}\n\n{sentence}\n\n![{experiment.question}]({figure_path})\n")
    write_text(
        destination / PAGE,
        "\n".join([INTRODUCTION.format(conditions=describe_conditions(conditions), low=LIMITS[0]), *sections]),
    )


INTRODUCTION = """# Why masks work

`snakemake explain` runs these experiments on the masks of `piggyback`, and writes this page with the figures.
Quality is relative to a separate network: 0 % is the trivial baseline of a task, 100 % the network that `scratch`
trains for it. Numbers in the sentences are means over tasks and seeds. Figures have a band or bar of one standard
deviation over the seeds, if there are several; values below {low} % lie on the edge.

{conditions}
"""


def mean_at(quality: Quality, condition: str, x: float | str | None = None) -> float:
    """Return the mean quality over tasks and seeds under a condition, in per cent; at ``x``, if given."""
    rows = quality[quality["condition"] == condition]
    if x is not None:
        at = rows["x"].astype(float) == x if isinstance(x, float) else rows["x"] == x
        rows = rows[at]
    return float(rows["value"].mean())


def shown(value: float) -> str:
    """Return a quality as text, without decimals."""
    return f"{value:.0f} %"


def about_dropped(zeros: Quality) -> str:
    """Return the sentence on the weights that masks drop."""
    by_magnitude = zeros[zeros["condition"] == masks.BY_MAGNITUDE]
    smallest, largest = (shown(mean_at(by_magnitude, masks.BY_MAGNITUDE, float(at))) for at in (1, masks.CLASSES))
    total = shown(float(by_magnitude["value"].mean()))
    at = ", ".join(
        f"{shown(mean_at(zeros, masks.BY_OFFSET, name))} at the {name}" for name in masks.OFFSETS.values()
    )
    return (
        f"Masks drop {total} of all weights: {smallest} of the tenth with the smallest magnitudes in each layer, "
        f"and {largest} of the tenth with the largest; of the weights of 3 × 3 kernels {at}."
    )


def about_alike(shares: Quality) -> str:
    """Return the sentence on the similarity of masks."""
    excess = excess_of(shares)
    same = excess["condition"] == masks.SAME_TASK
    pairs = excess[~same].groupby(["condition", "task"], as_index=False)["value"].mean()
    most = pairs.loc[pairs["value"].idxmax()]
    return (
        "Two masks of one task over the same base, learned with other batches and another first head, agree in "
        f"{interval(excess.loc[same, 'value'])} percentage points more of their bits than independent masks with "
        f"as many zeros, masks of two tasks in {interval(excess.loc[~same, 'value'])} (mean, with the interval of "
        f"95 % confidence over seeds and tasks); most alike are `{most['condition']}` and `{most['task']}`, "
        f"{most['value']:.1f} points."
    )


def excess_of(shares: Quality) -> Quality:
    """Return the similarity of masks above that of independent masks, in percentage points, a row per pair."""
    wide = shares.pivot_table(index=["seed", "task", "condition"], columns="metric", values="value", sort=False)
    return wide.assign(value=wide["similarity"] - wide["independent"]).reset_index()


def interval(values: pd.Series) -> str:
    """Return a mean with the half width of its interval of 95 % confidence by Student's t; the mean of one "
    "value."""
    if len(values) < 2:
        return f"{values.mean():.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.sem()
    return f"{values.mean():.1f} ± {half:.1f}"


def about_shorter(shares: Quality) -> str:
    """Return the sentence on the size of masks at their entropy."""
    means = shares.groupby("condition")["value"].mean()
    single = [f"{means[name]:.1f} %" for name in (masks.LAYERS, masks.BY_MAGNITUDE, masks.BY_SIGN, masks.BY_OFFSET)]
    best = min(value for name, value in means.items() if str(name).startswith("mask of "))
    return (
        f"An ideal code takes {single[0]} of one bit per weight with the frequencies of each layer, {single[1]} "
        f"with those of each class of magnitude, {single[2]} with those of each sign, {single[3]} with those of "
        f"each offset in the kernel, and at best {best:.1f} % if it knows the mask of another task."
    )


def about_kinds(zeros: Quality) -> str:
    """Return the sentence on kinds of tasks."""
    means = zeros.groupby(["condition", "x"])["value"].mean()
    shares = {
        name: ", ".join(
            f"{shown(value)} of {weights:,.0f} weights" for weights, value in means[name].sort_index().items()
        )
        for name in (kinds.TRANSLATION, kinds.CLASSIFICATION, kinds.CLASSIFICATION_UNET)
    }
    return (
        f"The mask of the second task drops {shares[kinds.TRANSLATION]} if both tasks are segmentations by U-Nets, "
        f"{shares[kinds.CLASSIFICATION]} if both are classifications by encoders, and "
        f"{shares[kinds.CLASSIFICATION_UNET]} if both are classifications by the U-Net."
    )


def about_flipped(quality: Quality) -> str:
    """Return the sentence on flipped bits."""
    shares = 0.0, 0.01, 0.05, 0.5
    stored, again = (
        [shown(mean_at(quality, name, share)) for share in shares] for name in (bits.STORED, bits.RECOMPUTED)
    )
    return (
        f"The mask as learned has {stored[0]} quality, with 1 % of its bits flipped at random {stored[1]}, with 5 "
        f"% {stored[2]} and with 50 % {stored[3]}; with statistics of BatchNorm computed again these are "
        f"{again[0]}, {again[1]}, {again[2]} and {again[3]}."
    )


def about_important(quality: Quality) -> str:
    """Return the sentence on the zeros that are needed."""
    orders = bits.LARGEST, bits.BY_REMOVAL, bits.BY_RETURN, bits.AT_RANDOM
    largest, removal, back, random = (shown(mean_at(quality, name, 0.1)) for name in orders)
    none, every = (shown(mean_at(quality, bits.LARGEST, share)) for share in (0.0, 1.0))
    return (
        f"Without any zero quality is {none}, with all {every}; a tenth of the zeros gives {largest} if they are "
        f"those of the largest weights, {removal} if those with the largest estimated effect of a removal, {back} "
        f"if those with the largest estimated effect of a return, and {random} if drawn at random."
    )


def about_signs(quality: Quality) -> str:
    """Return the sentence on bases of signs."""
    new, old, none = (
        [shown(mean_at(quality, condition, base)) for base in (bases.WEIGHTS, bases.SIGNS)]
        for condition in (bases.NEW_MASK, bases.OLD_MASK, bases.NO_MASK)
    )
    return (
        "A mask learned over the signs of the base's weights, each times the mean magnitude of its filter, has "
        f"{new[1]} quality, over the weights themselves {new[0]}; the mask of the weights, with BatchNorm and head "
        f"learned again, has {old[1]} over the signs and {old[0]} over the weights, and no mask {none[1]} and "
        f"{none[0]}."
    )


def about_rescaled(quality: Quality) -> str:
    """Return the sentence on rescaled filters."""
    learned, fixed = (
        [shown(mean_at(quality, condition, filters)) for filters in (bases.AS_TRAINED, bases.RESCALED)]
        for condition in (bases.LEARNED_BATCHNORM, bases.FIXED_BATCHNORM)
    )
    return (
        f"With every filter multiplied by a random factor between {2**-bases.OCTAVES:g} and {2**bases.OCTAVES:g}, "
        f"masks have {learned[1]} quality instead of {learned[0]} where BatchNorm learns too, and {fixed[1]} "
        f"instead of {fixed[0]} where it stays as in the base."
    )


def about_shuffled(quality: Quality) -> str:
    """Return the sentence on shuffled masks."""
    learned, filters, layers, ones = (
        shown(mean_at(quality, name)) for name in (bits.AS_LEARNED, bits.IN_FILTERS, bits.IN_LAYERS, bits.ONES)
    )
    return (
        f"With BatchNorm and head learned again, the mask has {learned} quality, its bits in random order within "
        f"each filter {filters}, within each layer {layers}, and no mask {ones}."
    )


def about_bases(quality: Quality) -> str:
    """Return the sentence on other bases."""
    other = quality[(quality["condition"] != bases.UNTRAINED) & (quality["condition"] != quality["task"])]
    by_base = other.groupby("condition")["value"].mean().sort_values(ascending=False)
    ranked = ", ".join(f"`{name}` {shown(value)}" for name, value in by_base.items())
    return (
        f"Masks for the other tasks have these mean qualities, by the task that trained their base: {ranked}; over "
        f"an untrained network they have {shown(mean_at(quality, bases.UNTRAINED))}."
    )


def about_parts(quality: Quality) -> str:
    """Return the sentence on the parts of a stored task."""
    head, batchnorm, mask, both = (shown(mean_at(quality, name)) for name in parts.PARTS)
    return (
        f"The head alone has {head} quality, BatchNorm and head {batchnorm}, mask and head with the base's "
        f"BatchNorm {mask}, and all three {both}."
    )


def about_exchanged(quality: Quality) -> str:
    """Return the sentence on exchanged masks."""
    of_itself = quality["condition"] == quality["task"]
    same, other = (shown(float(quality.loc[chosen, "value"].mean())) for chosen in (of_itself, ~of_itself))
    pairs = quality[~of_itself].groupby(["condition", "task"], as_index=False)["value"].mean()
    best = pairs.loc[pairs["value"].idxmax()]
    return (
        f"BatchNorm and head of a task have {same} quality with the task's mask and {other} with that of another; "
        f"the best of these pairs is the mask of `{best['condition']}` for `{best['task']}`, "
        f"{shown(best['value'])}."
    )


def lines(quality: Quality) -> Figure:
    """Return curves of quality against a share, a panel per task, with a band of one standard deviation."""
    tasks = [*dict.fromkeys(quality["task"])]
    figure, panels = new_figure(len(tasks))
    for axes, task in zip(panels, tasks, strict=True):
        axes.set(title=task, xlabel="share of the bits (%)", ylim=LIMITS)
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        axes.set_xticks(ticks := [0, 1, 2, 5, 10, 20, 50, 100], [str(tick) for tick in ticks])
        for number, (condition, rows) in enumerate(by_condition(quality[quality["task"] == task])):
            values = rows.assign(x=100 * rows["x"].astype(float)).groupby("x")["value"]
            means, deviations = values.mean().clip(*LIMITS), values.std().fillna(0)
            colour = COLOURS[number]
            axes.plot(means.index, means, "o-", color=colour, markersize=3, linewidth=1.2, label=condition)
            axes.fill_between(means.index, means - deviations, means + deviations, color=colour, alpha=0.2, lw=0)
    return with_legend(figure, panels[0])


def zeros_by_position(zeros: Quality) -> Figure:
    """Return the share of zeros by class of magnitude, and by offset in the kernel, a line or bar per task."""
    figure, (left, right) = new_figure(2)
    left.set(ylabel="zeros (%)", xlabel="class of magnitude, the largest weights last")
    right.set_xticks(range(len(masks.OFFSETS)), [*masks.OFFSETS.values()])
    right.set_xlabel("offset in kernels of 3 × 3")
    for number, (task, rows) in enumerate(zeros.groupby("task", sort=False)):
        style_of: dict[str, Any] = {"color": COLOURS[number], "label": str(task)}
        by_class, by_offset = (rows[rows["condition"] == name] for name in (masks.BY_MAGNITUDE, masks.BY_OFFSET))
        means = by_class.assign(x=by_class["x"].astype(float)).groupby("x")["value"].mean()
        left.plot(means.index, means, "o-", markersize=3, linewidth=1.2, **style_of)
        means = by_offset.groupby("x", sort=False)["value"].mean()
        right.plot(range(len(means)), means, "o", markersize=5, **style_of)
    left.set_ylim(bottom=0)
    return with_legend(figure, left)


def similarities(shares: Quality) -> Figure:
    """Return the similarity of each pair of masks above that of independent masks, as bars with their seeds."""
    excess = excess_of(shares)
    names = [f"{row.task}, {row.condition}" for row in excess.itertuples()]
    means = excess.assign(pair=names).groupby("pair")["value"].agg(["mean", "std"]).sort_values("mean")
    figure = Figure((WIDTH, 0.6 + 0.2 * len(means)), dpi=72, layout="constrained")
    axes = figure.add_subplot(xlabel="similarity above that of independent masks (percentage points)")
    colours = [COLOURS[1] if masks.SAME_TASK in pair else COLOURS[0] for pair in means.index]
    axes.barh(range(len(means)), means["mean"], xerr=means["std"].fillna(0), color=colours, error_kw=BAR)
    axes.set_yticks(range(len(means)), [*means.index])
    axes.grid(visible=False, axis="y")
    return figure


def sizes_by_context(shares: Quality) -> Figure:
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


def zeros_by_weights(zeros: Quality) -> Figure:
    """Return the share of zeros against the number of weights, a line per kind of task."""
    figure, (axes,) = new_figure(1)
    axes.set(ylabel="zeros (%)", xlabel="weights of the network")
    axes.set_xscale("log")
    for number, (condition, rows) in enumerate(by_condition(zeros)):
        values = rows.assign(x=rows["x"].astype(float)).groupby("x")["value"]
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


def bars(quality: Quality) -> Figure:
    """Return bars of quality by condition, a group per value of x, a panel per task."""
    tasks = [*dict.fromkeys(quality["task"])]
    figure, panels = new_figure(len(tasks))
    conditions = [*dict.fromkeys(quality["condition"])]
    for axes, task in zip(panels, tasks, strict=True):
        of_task = quality[quality["task"] == task]
        groups = [*dict.fromkeys(of_task["x"])]
        axes.set(title=task, ylim=LIMITS)
        axes.set_xticks(range(len(groups)), ["" if group == task else group for group in groups])
        axes.grid(visible=False, axis="x")
        width = 0.8 / len(conditions)
        for number, (condition, rows) in enumerate(by_condition(of_task)):
            values = rows.groupby("x", sort=False)["value"]
            positions = [groups.index(x) + (number - (len(conditions) - 1) / 2) * width for x in values.groups]
            means, deviations = values.mean().clip(*LIMITS), values.std().fillna(0)
            axes.bar(positions, means, width, yerr=deviations, color=COLOURS[number], label=condition, error_kw=BAR)
    return with_legend(figure, panels[0])


def matrix(quality: Quality) -> Figure:
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
BAR: dict[str, Any] = {"linewidth": 0.8}
"""Style of the bars of one standard deviation."""


def new_figure(panels: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side that share their vertical axis."""
    figure = Figure((WIDTH, HEIGHT), dpi=72, layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    axes[0].set_ylabel("quality (%)")
    return figure, [*axes]


def with_legend(figure: Figure, axes: Axes) -> Figure:
    """Return the figure with the legend of one panel below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def by_condition(quality: Quality) -> list[tuple[str, pd.DataFrame]]:
    """Return each condition with its rows, in the order of the table."""
    return [(str(name), rows) for name, rows in quality.groupby("condition", sort=False)]


@style.context(["default", ON_WHITE])
def as_file(figure: Figure) -> bytes:
    """Return a figure as the content of an SVG file; equal figures give equal bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return file.getvalue()


def in_style(draw: Callable[[Quality], Figure]) -> Callable[[Quality], Figure]:
    """Return a function that draws with `ON_WHITE`, whatever the user's matplotlibrc says."""
    return style.context(["default", ON_WHITE])(draw)


FIGURES: dict[str, Callable[[Quality], Figure]] = {
    "dropped": in_style(zeros_by_position),
    "alike": in_style(similarities),
    "shorter": in_style(sizes_by_context),
    "kinds": in_style(zeros_by_weights),
    **dict.fromkeys(("flipped", "important"), in_style(lines)),
    **dict.fromkeys(("signs", "rescaled", "shuffled", "parts"), in_style(bars)),
    **dict.fromkeys(("bases", "exchanged"), in_style(matrix)),
}
"""Function that draws the figure of each experiment."""
SENTENCES: dict[str, Callable[[Quality], str]] = {
    "dropped": about_dropped,
    "alike": about_alike,
    "shorter": about_shorter,
    "kinds": about_kinds,
    "flipped": about_flipped,
    "important": about_important,
    "signs": about_signs,
    "rescaled": about_rescaled,
    "shuffled": about_shuffled,
    "bases": about_bases,
    "parts": about_parts,
    "exchanged": about_exchanged,
}
"""Function that writes the sentence of each experiment."""
