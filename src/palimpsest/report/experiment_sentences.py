"""Sentences of the experiments on masks, from their results."""

import math
from collections.abc import Callable

import pandas as pd
from scipy import stats

from palimpsest.explaining import names

Shares = pd.DataFrame
"""Quality or other shares of one experiment, in per cent: columns seed, task, condition, x, metric, value."""


def mean_at(quality: Shares, condition: str, x: float | str | None = None) -> float:
    """Return the mean quality over tasks and seeds under a condition, in per cent; at ``x``, if given."""
    rows = quality[quality["condition"] == condition]
    if x is not None:
        at = rows["x"].astype(float) == x if isinstance(x, float) else rows["x"] == x
        rows = rows[at]
    return float(rows["value"].mean())


def shown(value: float) -> str:
    """Return a share as text, without decimals."""
    return f"{value:z.0f} %".replace("-", "−")


def signed(value: float) -> str:
    """Return a difference as text with its sign, without decimals."""
    return f"{value:+z.0f}".replace("-", "−")


def largest_pair(shares: Shares) -> pd.Series | None:
    """Return condition, task and value of the pair with the largest mean over the seeds; None without rows."""
    pairs = shares.groupby(["condition", "task"], as_index=False)["value"].mean()
    return None if pairs.empty else pairs.loc[pairs["value"].idxmax()]


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
    most = largest_pair(excess[~same])
    if most is None:
        return f"{sentence}."
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
    return f"{means.mean():.1f} ± {half_width(means):.1f}" if len(means) > 1 else f"{means.mean():.1f}"


def half_width(values: pd.Series) -> float:
    """Return the half width of the interval of 95 % confidence of a mean, by Student's t; NaN for one value."""
    return float(stats.t.ppf(0.975, len(values) - 1) * values.sem()) if len(values) > 1 else math.nan


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
        "With scores that start at one value, a mask learned over the signs of the base's weights, each times "
        f"the mean magnitude of its filter, has {new[1]} quality, over the weights themselves {new[0]}; the mask "
        f"of the weights, with BatchNorm and head learned again, has {old[1]} over the signs and {old[0]} over the "
        f"weights, and no mask {none[1]} and {none[0]}."
    )


def about_rescaled(quality: Shares) -> str:
    """Return the sentence on rescaled filters."""
    learned, fixed = (
        [shown(mean_at(quality, condition, filters)) for filters in (names.AS_TRAINED, names.RESCALED)]
        for condition in (names.LEARNED_BATCHNORM, names.FIXED_BATCHNORM)
    )
    return (
        f"With every filter multiplied by a random factor between {2**-names.OCTAVES:g} and {2**names.OCTAVES:g}, "
        f"masks whose scores start at one value have {learned[1]} quality instead of {learned[0]} where BatchNorm "
        f"learns too, and {fixed[1]} instead of {fixed[0]} where it stays as in the base."
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
        f"in percentage points, by the task that trained the base: {ranked}. The base network "
        "was trained for `base.steps`, the networks of the other tasks for the steps of their tasks."
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
    best = largest_pair(masked[~of_itself])
    if best is None:
        return f"{sentence} and {none} without a mask."
    return (
        f"{sentence}, {shown(float(masked.loc[~of_itself, 'value'].mean()))} with that of another task, and {none} "
        f"without a mask; the best of these pairs is the mask of `{best['condition']}` for `{best['task']}`, "
        f"{shown(best['value'])}."
    )


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
