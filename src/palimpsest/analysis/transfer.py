"""Summary of forgetting: final quality and forgetting of each method, and the cost of an added task.

Final quality, backward and forward transfer follow Lopez-Paz and Ranzato, Gradient episodic memory for continual
learning, NIPS 2017, adapted to metrics of different units. Let R(k, i) be the key metric of task i after training
on task k, S(i) that of `scratch` for task i, and a ⊘ b how many times as good a is as b: a ÷ b for metrics that
should be high, b ÷ a for metrics that should be low. K is the number of tasks; the first trains the base network.

- Relative quality is the mean of R(K, i) ⊘ S(i) over i = 1 … K: 1 is as good as a separate network per task. For
  the first task of a method that keeps the base network, which equals that of `scratch`, the ratio is exactly 1.
- Backward transfer is the mean of R(K, i) ⊘ R(i, i) − 1 over i = 1 … K − 1: 0 means no forgetting, −1 the loss of
  all quality, which a metric such as mIoU reaches at 0 and a finite error does not reach.
- Forward transfer is the mean of R(i, i) ⊘ S(i) − 1 over i = 2 … K: the gain of a task right after training over a
  training from random weights. (The original measures a task before training, which would need a trained head.)

Ratios replace the differences of the original, because points of mIoU and of a loss cannot be averaged. Backward
transfer divides by R(i, i) and not by S(i), so that it needs no other method. For a single task relative quality =
(1 + forward transfer) · (1 + backward transfer).
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from palimpsest.analysis.tables import columns_of, require_columns
from palimpsest.metrics.described import describe, forgetting_metrics
from palimpsest.metrics.metric import Metric
from palimpsest.settings import FLOOR
from palimpsest.tasks import KINDS

REFERENCE = "scratch"
"""Method to which quality and size of all methods are relative: a separate network per task."""

FIGURES = (
    "relative_quality",
    "backward_transfer",
    "forward_transfer",
    "bytes_per_added_task",
    "learn_bytes",
    "seconds",
    "peak_memory",
)
"""Columns of `forgetting.csv` after `method`; with several seeds `<figure>_std` follows each."""

Values = Mapping[tuple[int | str, ...], float]
"""Numbers of one column of a table, by the values of its key columns: seed, method, task, and further ones."""


class Scored(NamedTuple):
    """Task with its key metric, by which its quality is compared."""

    task: str
    metric: Metric
    column: str
    """Name of the metric in `metrics.csv`."""


def forgetting_table(
    metrics: pd.DataFrame,
    growth: pd.DataFrame,
    costs: pd.DataFrame,
    sequence: Sequence[tuple[str, str]],
    methods: Iterable[str],
) -> pd.DataFrame:
    """Return the table of `forgetting.csv`: per measured method, mean and standard deviation of each of `FIGURES`.

    metrics, growth, costs: the tables of these names; growth and costs may have no rows. sequence: (task, kind) in
    the order of learning. Bytes and seconds are means over the tasks from the second on, memory (MiB) is their
    maximum. `learn_bytes` is the whole training state after the last task, without the inference state. A figure of
    a seed is NaN if one of its parts was not measured; the mean over seeds leaves it out. For figures of quality
    see `quality_figures`.

    Raises:
        DataError: a table lacks a column.
    """
    quality = quality_figures(metrics, sequence)
    require_columns(growth, columns_of("growth"), "growth.csv")
    require_columns(costs, columns_of("costs"), "costs.csv")
    tasks = [task for task, _ in sequence]
    needed = by_key(growth, ["seed", "method", "task", "needed_to"], "bytes")
    seconds, memory = (by_key(costs, ["seed", "method", "task"], name) for name in ("seconds", "peak_memory"))
    rows: list[dict[str, object]] = []
    for method in methods:
        if method not in quality:
            continue
        figures = [
            {
                **quality_of_seed,
                "bytes_per_added_task": bytes_per_added_task(needed, tasks, seed, method),
                "learn_bytes": needed.get((seed, method, tasks[-1], "learn"), math.nan),
                "seconds": mean([seconds.get((seed, method, task), math.nan) for task in tasks[1:]]),
                "peak_memory": largest([memory.get((seed, method, task), math.nan) for task in tasks[1:]]),
            }
            for seed, quality_of_seed in quality[method].items()
        ]
        rows.append({"method": method, **mean_over_seeds(figures)})
    spread = metrics["seed"].nunique() > 1
    columns = [name for figure in FIGURES for name in ([figure, f"{figure}_std"] if spread else [figure])]
    return pd.DataFrame(rows, columns=["method", *columns])


def quality_figures(
    metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]
) -> dict[str, dict[int, dict[str, float]]]:
    """Return the three figures of quality by method and seed, as the docstring of this module defines them.

    metrics: the table of `metrics.csv`. A figure is NaN if a task was not measured, or if it needs `scratch` and
    that was not measured. Tasks without a metric with direction are left out; so is the floor.

    Raises:
        DataError: the table lacks a column.
    """
    require_columns(metrics, ["seed", "method", "task", "after", "metric", "value"], "metrics.csv")
    values = by_key(metrics, ["seed", "method", "task", "after", "metric"], "value")
    scored, tasks = scored_tasks(metrics, sequence), [task for task, _ in sequence]
    seeds = sorted({int(seed) for seed in metrics["seed"]})
    return {
        method: {seed: qualities(values, scored, tasks, seed, method) for seed in seeds}
        for method in dict.fromkeys(metrics["method"])
        if method != FLOOR
    }


def scored_tasks(metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]) -> list[Scored]:
    """Return the tasks of the sequence with their key metrics, without tasks that have no metric with direction."""
    scored = []
    for task, kind in sequence:
        names = list(dict.fromkeys(metrics.loc[metrics["task"] == task, "metric"]))
        key = KINDS[kind].key_metric if kind in KINDS else ""
        candidates = [key] if key in names else forgetting_metrics(kind, names)
        scored += [Scored(task, describe(name, kind), name) for name in candidates[:1]]
    return scored


def qualities(
    values: Values, scored: Sequence[Scored], tasks: Sequence[str], seed: int, method: str
) -> dict[str, float]:
    """Return relative quality, backward and forward transfer of a method and seed; NaN where a value is missing."""
    relative, backward, forward = [], [], []
    for task, metric, name in scored:
        reference = values.get((seed, REFERENCE, task, task, name), math.nan)
        learned = values.get((seed, method, task, task, name), math.nan)
        final = values.get((seed, method, task, tasks[-1], name), math.nan)
        relative.append(times_as_good(metric, final, reference))
        if task != tasks[0]:
            forward.append(times_as_good(metric, learned, reference) - 1)
        if task != tasks[-1]:
            backward.append(times_as_good(metric, final, learned) - 1)
    return {
        "relative_quality": mean(relative),
        "backward_transfer": mean(backward),
        "forward_transfer": mean(forward),
    }


def times_as_good(metric: Metric, value: float, reference: float) -> float:
    """Return how many times as good as ``reference`` a value is: value ÷ reference, inverted if low is better.

    Equal values give 1, also two zeros. NaN and a division by zero give NaN.
    """
    numerator, denominator = (value, reference) if metric.better == "higher" else (reference, value)
    if numerator == denominator:
        return 1.0
    return numerator / denominator if denominator else math.nan


def bytes_per_added_task(needed: Values, tasks: Sequence[str], seed: int, method: str) -> float:
    """Return the bytes for inference that an added task needs, mean over the tasks from the second on.

    needed: bytes by (seed, method, task, needed_to), for each task together with all earlier ones. Files that all
    tasks share thus do not count. The result is NaN for a single task, or if a value is missing.
    """
    first, last = (needed.get((seed, method, task, "run"), math.nan) for task in (tasks[0], tasks[-1]))
    return (last - first) / (len(tasks) - 1) if len(tasks) > 1 else math.nan


def by_key(table: pd.DataFrame, key: Sequence[str], column: str) -> Values:
    """Return the finite values of one column of a table, by the values of the columns `key`."""
    rows = table[[*key, column]].itertuples(index=False, name=None)
    return {tuple(key_of_row): float(value) for *key_of_row, value in rows if math.isfinite(value)}


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN for no values, and if any value is NaN."""
    return statistics.fmean(values) if values else math.nan


def largest(values: Sequence[float]) -> float:
    """Return the largest value; NaN for no values, and if any value is NaN."""
    return math.nan if not values or any(map(math.isnan, values)) else max(values)


def mean_over_seeds(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return mean and sample standard deviation (`<figure>_std`) of the finite values of each figure."""
    row = {}
    for figure in figures[0]:
        values = [of_seed[figure] for of_seed in figures if math.isfinite(of_seed[figure])]
        row[figure] = mean(values)
        row[f"{figure}_std"] = statistics.stdev(values) if len(values) > 1 else math.nan
    return row
