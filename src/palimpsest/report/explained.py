"""Page of the experiments on masks, from the table of all results: a figure and a sentence for each question."""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from palimpsest.analysis.conditions import describe_conditions
from palimpsest.explaining import EXPERIMENTS, QUALITY, names
from palimpsest.report.chart import COLOURS, STYLE, Chart, as_svg, identifier
from palimpsest.storage.atomic import write_bytes, write_text

PAGE = "why-it-works.md"
HEIGHT = 2.4
"""Height of a figure in inches of 72 points."""
WIDTH = 8.6
ON_WHITE = {**STYLE, "figure.facecolor": "white", "svg.fonttype": "path", "legend.frameon": False}
"""Style of the figures; they lie beside the page and have no style sheet."""

IN_PER_CENT = (QUALITY, "zeros", "similarity", "independent", "bits", "score", "floor")
"""Metrics that the page shows; they are shares."""
Shares = pd.DataFrame
"""Quality or other shares of one experiment, in per cent: columns seed, task, condition, x, metric, value."""
FEW_TASKS = len(COLOURS)
"""Largest number of tasks that have a panel or a colour each; more are shown as their mean."""


def write_page(results: pd.DataFrame, conditions: Mapping[str, Any], destination: Path) -> None:
    """Write the page `PAGE` into a folder, and its figures into a subfolder.

    results: table with the columns `palimpsest.explaining.COLUMNS`. conditions: those of `collect_conditions`.
    """
    parts_of_page = [INTRODUCTION.format(conditions=describe_conditions(conditions), low=LIMITS[0], high=LIMITS[1])]
    for answer in answers(results):
        figure_path = Path(PAGE).stem + f"/{answer.name}.svg"
        write_bytes(destination / figure_path, as_file(answer.figure))
        question = f"## {answer.question}\n\n{answer.sentence}\n\n"
        parts_of_page.append(f"{question}![{answer.question}]({figure_path})\n")
    write_text(destination / PAGE, "\n".join(parts_of_page))


class Answer(NamedTuple):
    """Answer of one experiment to its question."""

    name: str
    """Name of the experiment."""
    question: str
    sentence: str
    """Sentence with the numbers, as Markdown."""
    figure: Figure


def answers(results: pd.DataFrame) -> Iterator[Answer]:
    """Yield the answer of each experiment that has results; for ``results`` see `write_page`."""
    for name, experiment in EXPERIMENTS.items():
        rows = results[(results["experiment"] == name) & results["metric"].isin(IN_PER_CENT)]
        if len(rows):
            shares = rows.assign(value=100 * rows["value"])
            yield Answer(name, experiment.question, SENTENCES[name](shares), FIGURES[name](in_few_tasks(shares)))


def answer_charts(results: pd.DataFrame) -> list[tuple[Answer, Markup, Chart]]:
    """Return each answer with its sentence as HTML and its figure for the report."""
    return [
        (
            answer,
            Markup(re.sub(r"`(.*?)`", r"<code>\1</code>", str(escape(answer.sentence)))),
            Chart(as_svg(answer.figure, identifier("explain", answer.name), []), answer.question),
        )
        for answer in answers(results)
    ]


INTRODUCTION = """# Why masks work

`snakemake explain` runs these experiments on the masks of `piggyback`, and writes this page with the figures.
Quality is relative to a separate network: 0 % is the trivial baseline of a task, 100 % the network that `scratch`
trains for it. Numbers in the sentences are means over tasks and seeds. Bands and bars of quality are one standard
deviation over the seeds, if there are several. In the figures, quality below {low} % is drawn at {low} %, and above
{high} % at {high} %.

{conditions}
"""


def in_few_tasks(shares: Shares) -> Shares:
    """Return the rows as they are for up to `FEW_TASKS` tasks, otherwise their means over the tasks."""
    number = shares["task"].nunique()
    if number <= FEW_TASKS:
        return shares
    name = f"mean of {number} tasks"
    x = shares["x"].where(shares["x"] != shares["task"], name)
    by_seed = shares.assign(x=x).groupby(["seed", "condition", "x", "metric"], sort=False)["value"]
    return by_seed.mean().reset_index().assign(task=name)


def mean_at(quality: Shares, condition: str, x: float | str | None = None) -> float:
    """Return the mean quality over tasks and seeds under a condition, in per cent; at ``x``, if given."""
    rows = quality[quality["condition"] == condition]
    if x is not None:
        at = rows["x"].astype(float) == x if isinstance(x, float) else rows["x"] == x
        rows = rows[at]
    return float(rows["value"].mean())


def shown(value: float) -> str:
    """Return a share as text, without decimals."""
    return f"{value:.0f} %"


def signed(value: float) -> str:
    """Return a difference as text with its sign, without decimals."""
    return f"{value:+.0f}".replace("-", "−")


def about_dropped(zeros: Shares) -> str:
    """Return the sentence on the weights that masks drop."""
    by_magnitude = zeros[zeros["condition"] == names.BY_MAGNITUDE]
    (smallest, largest), (equal_smallest, equal_largest) = (
        [shown(mean_at(zeros, condition, float(at))) for at in (1, names.CLASSES)]
        for condition in (names.BY_MAGNITUDE, names.AFTER_EQUAL_START)
    )
    total = shown(float(by_magnitude["value"].mean()))
    by_offset = ", ".join(
        f"{shown(mean_at(zeros, names.BY_OFFSET, name))} at the {name}"
        for name in names.OFFSETS.values()
        if name in set(zeros["x"])
    )
    return (
        f"Masks drop {total} of all weights: {smallest} of the tenth with the smallest magnitudes in each layer, "
        f"and {largest} of the tenth with the largest; if all scores start at one value, {equal_smallest} and "
        f"{equal_largest}" + (f". Of the weights of 3 × 3 kernels they drop {by_offset}." if by_offset else ".")
    )


def about_alike(shares: Shares) -> str:
    """Return the sentence on the similarity of masks."""
    excess = excess_of(shares)
    same = excess["condition"] == names.SAME_TASK
    sentence = (
        "Two masks of one task over the same base, learned with other batches and another first head, agree in "
        f"{interval(excess[same])} percentage points more of their bits than independent masks with the same share "
        "of zeros in each layer and class of magnitude"
    )
    pairs = excess[~same].groupby(["condition", "task"], as_index=False)["value"].mean()
    if pairs.empty:
        return f"{sentence}."
    most = pairs.loc[pairs["value"].idxmax()]
    return (
        f"{sentence}, masks of two tasks in {interval(excess[~same])}; most alike are `{most['condition']}` and "
        f"`{most['task']}`, {most['value']:.1f} points. Intervals are those of 95 % confidence over the seeds."
    )


def excess_of(shares: Shares) -> Shares:
    """Return the similarity of masks above that of independent masks, in percentage points, a row per pair."""
    wide = shares.pivot_table(index=["seed", "task", "condition"], columns="metric", values="value", sort=False)
    return wide.assign(value=wide["similarity"] - wide["independent"]).reset_index()


def interval(excess: Shares) -> str:
    """Return a mean, with the half width of its interval of 95 % confidence by Student's t over the seeds.

    With one seed it is the mean alone. The pairs of a seed share masks, so that only seeds are independent.
    """
    means = excess.groupby("seed")["value"].mean()
    if len(means) < 2:
        return f"{means.mean():.1f}"
    half = stats.t.ppf(0.975, len(means) - 1) * means.sem()
    return f"{means.mean():.1f} ± {half:.1f}"


def about_shorter(shares: Shares) -> str:
    """Return the sentence on the size of masks at their entropy."""
    means = shares.groupby("condition")["value"].mean()
    single = [f"{means[name]:.1f} %" for name in (names.LAYERS, names.BY_MAGNITUDE, names.BY_SIGN, names.BY_OFFSET)]
    earlier = shares[shares["condition"].str.startswith(names.EARLIER)]
    best = earlier.groupby(["task", "condition"])["value"].mean().groupby("task").min().mean()
    with_masks = f" With the best mask of an earlier task as context it takes {best:.1f} %." if len(earlier) else ""
    return (
        f"An ideal code takes {single[0]} of one bit per weight with the frequencies of each layer, {single[1]} "
        f"with those of each class of magnitude, {single[2]} with those of each sign, and {single[3]} with those "
        f"of each offset in the kernel.{with_masks}"
    )


def about_kinds(shares: Shares) -> str:
    """Return the sentence on kinds of tasks."""
    means = shares.assign(x=shares["x"].astype(float)).groupby(["metric", "condition", "x"])["value"].mean()
    zeros = {
        name: ", ".join(
            f"{shown(value)} of {weights:,.0f} weights"
            for weights, value in means["zeros", name].sort_index().items()
        )
        for name in (names.TRANSLATION, names.CLASSIFICATION, names.CLASSIFICATION_UNET)
    }
    miou, accuracy, by_unet = (
        f"{shown(means['score', name].mean())} (baseline {shown(means['floor', name].mean())})" for name in zeros
    )
    return (
        f"The mask of the second task drops {zeros[names.TRANSLATION]} if both tasks are segmentations by U-Nets, "
        f"{zeros[names.CLASSIFICATION]} if both are classifications by encoders, and "
        f"{zeros[names.CLASSIFICATION_UNET]} if both are classifications by the U-Net. The mean mIoU of the "
        f"segmentations is {miou}, the mean accuracy {accuracy} by encoders and {by_unet} by the U-Net."
    )


def about_flipped(quality: Shares) -> str:
    """Return the sentence on flipped bits."""
    shares = 0.0, 0.01, 0.05, 0.5
    stored, again = (
        [shown(mean_at(quality, name, share)) for share in shares] for name in (names.STORED, names.RECOMPUTED)
    )
    return (
        f"The mask as learned has {stored[0]} quality, with 1 % of its bits flipped at random {stored[1]}, with 5 "
        f"% {stored[2]} and with 50 % {stored[3]}; with statistics of BatchNorm computed again these are "
        f"{again[0]}, {again[1]}, {again[2]} and {again[3]}."
    )


def about_important(quality: Shares) -> str:
    """Return the sentence on the zeros that are needed."""
    orders = names.LARGEST, names.BY_REMOVAL, names.BY_RETURN, names.AT_RANDOM
    largest, removal, back, random = (shown(mean_at(quality, name, 0.1)) for name in orders)
    none, every = (shown(mean_at(quality, names.LARGEST, share)) for share in (0.0, 1.0))
    return (
        f"Without any zero quality is {none}, with all {every}; a tenth of the zeros gives {largest} if they are "
        f"those of the largest weights, {removal} if those with the largest estimated effect of a removal, {back} "
        f"if those with the largest estimated effect of a return, and {random} if drawn at random; scale and shift "
        "of BatchNorm, and the head, are those of the mask with all zeros."
    )


def about_signs(quality: Shares) -> str:
    """Return the sentence on bases of signs."""
    new, old, none = (
        [shown(mean_at(quality, condition, base)) for base in (names.WEIGHTS, names.SIGNS)]
        for condition in (names.NEW_MASK, names.OLD_MASK, names.NO_MASK)
    )
    return (
        "A mask learned over the signs of the base's weights, each times the mean magnitude of its filter, has "
        f"{new[1]} quality, over the weights themselves {new[0]}; the mask of the weights, with BatchNorm and head "
        f"learned again, has {old[1]} over the signs and {old[0]} over the weights, and no mask {none[1]} and "
        f"{none[0]}."
    )


def about_rescaled(quality: Shares) -> str:
    """Return the sentence on rescaled filters."""
    learned, fixed = (
        [shown(mean_at(quality, condition, filters)) for filters in (names.AS_TRAINED, names.RESCALED)]
        for condition in (names.LEARNED_BATCHNORM, names.FIXED_BATCHNORM)
    )
    return (
        f"With every filter multiplied by a random factor between {2**-names.OCTAVES:g} and {2**names.OCTAVES:g}, "
        f"masks have {learned[1]} quality instead of {learned[0]} where BatchNorm learns too, and {fixed[1]} "
        f"instead of {fixed[0]} where it stays as in the base."
    )


def about_shuffled(quality: Shares) -> str:
    """Return the sentence on shuffled masks."""
    learned, filters, layers, classes, ones = (
        shown(mean_at(quality, name))
        for name in (names.AS_LEARNED, names.IN_FILTERS, names.IN_LAYERS, names.IN_CLASSES, names.ONES)
    )
    return (
        f"With BatchNorm and head learned again, the mask has {learned} quality, its bits in random order within "
        f"each filter {filters}, within each layer {layers}, within the weights of a layer of similar magnitude "
        f"{classes}, and no mask {ones}."
    )


def about_bases(quality: Shares) -> str:
    """Return the sentence on other bases."""
    other = quality[(quality["condition"] != names.UNTRAINED) & (quality["condition"] != quality["task"])]
    of_task = other.groupby(["seed", "task"])["value"].transform("mean")
    by_base = other.assign(value=other["value"] - of_task).groupby("condition")["value"].mean()
    ranked = ", ".join(f"`{name}` {signed(value)}" for name, value in by_base.sort_values(ascending=False).items())
    return (
        f"Masks over the networks of other tasks have {shown(float(other['value'].mean()))} quality, over an "
        f"untrained network {shown(mean_at(quality, names.UNTRAINED))}. Differences to the mean of a task's masks, "
        f"in percentage points, by the task that trained the base: {ranked}."
    )


def about_parts(quality: Shares) -> str:
    """Return the sentence on the parts of a stored task."""
    head, batchnorm, mask, both = (shown(mean_at(quality, name)) for name in names.PARTS)
    return (
        f"The head alone has {head} quality, BatchNorm and head {batchnorm}, mask and head with the base's "
        f"BatchNorm {mask}, and all three {both}."
    )


def about_exchanged(quality: Shares) -> str:
    """Return the sentence on exchanged masks."""
    none = shown(mean_at(quality, names.NO_MASK))
    masked = quality[quality["condition"] != names.NO_MASK]
    of_itself = masked["condition"] == masked["task"]
    same = shown(float(masked.loc[of_itself, "value"].mean()))
    sentence = f"BatchNorm and head of a task, with new statistics, have {same} quality with the task's mask"
    pairs = masked[~of_itself].groupby(["condition", "task"], as_index=False)["value"].mean()
    if pairs.empty:
        return f"{sentence} and {none} without a mask."
    best = pairs.loc[pairs["value"].idxmax()]
    return (
        f"{sentence}, {shown(float(masked.loc[~of_itself, 'value'].mean()))} with that of another task, and {none} "
        f"without a mask; the best of these pairs is the mask of `{best['condition']}` for `{best['task']}`, "
        f"{shown(best['value'])}."
    )


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
            means, deviations = values.mean().clip(*LIMITS), values.std().fillna(0)
            colour = COLOURS[number]
            axes.plot(means.index, means, "o-", color=colour, markersize=3, linewidth=1.2, label=condition)
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
    """Return the similarity of each pair of masks above that of independent masks, as bars with their seeds."""
    excess = excess_of(shares)
    pairs = [f"{row.task}, {row.condition}" for row in excess.itertuples()]
    means = excess.assign(pair=pairs).groupby("pair")["value"].agg(["mean", "std"]).sort_values("mean")
    figure = Figure((WIDTH, 0.6 + 0.2 * len(means)), dpi=72, layout="constrained")
    axes = figure.add_subplot(xlabel="similarity above that of independent masks (percentage points)")
    colours = [COLOURS[1] if names.SAME_TASK in pair else COLOURS[0] for pair in means.index]
    axes.barh(range(len(means)), means["mean"], xerr=means["std"].fillna(0), color=colours, error_kw=BAR)
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
        axes.set_xticks(range(len(groups)), ["" if group == task else group for group in groups])
        axes.grid(visible=False, axis="x")
        width = 0.8 / len(conditions)
        for number, (condition, rows) in enumerate(by_condition(of_task)):
            values = rows.groupby("x", sort=False)["value"]
            positions = [groups.index(x) + (number - (len(conditions) - 1) / 2) * width for x in values.groups]
            means, deviations = values.mean().clip(*LIMITS), values.std().fillna(0)
            axes.bar(positions, means, width, yerr=deviations, color=COLOURS[number], label=condition, error_kw=BAR)
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
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def by_condition(quality: Shares) -> list[tuple[str, pd.DataFrame]]:
    """Return each condition with its rows, in the order of the table."""
    return [(str(name), rows) for name, rows in quality.groupby("condition", sort=False)]


@style.context(["default", ON_WHITE])
def as_file(figure: Figure) -> bytes:
    """Return a figure as the content of an SVG file; equal figures give equal bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return file.getvalue()


def in_style(draw: Callable[[Shares], Figure]) -> Callable[[Shares], Figure]:
    """Return a function that draws with `ON_WHITE` alone, without the user's matplotlibrc."""
    return style.context(["default", ON_WHITE])(draw)


FIGURES: dict[str, Callable[[Shares], Figure]] = {
    "dropped": in_style(zeros_by_position),
    "alike": in_style(similarities),
    "shorter": in_style(sizes_by_context),
    "kinds": in_style(zeros_by_weights),
    "flipped": in_style(partial(lines, label="flipped bits (%)")),
    "important": in_style(partial(lines, label="zeros that stay (%)")),
    **dict.fromkeys(("signs", "rescaled", "shuffled", "parts"), in_style(bars)),
    **dict.fromkeys(("bases", "exchanged"), in_style(matrix)),
}
"""Function that draws the figure of each experiment."""
SENTENCES: dict[str, Callable[[Shares], str]] = {
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
