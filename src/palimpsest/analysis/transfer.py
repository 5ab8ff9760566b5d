"""The forgetting summary: for each method what is left of quality in the end, and what a further task costs.

Final quality, backward and forward transfer as of Lopez-Paz and Ranzato, Gradient episodic memory for continual
learning, NIPS 2017, adapted to metrics of different units. Let R(k, i) be the headline metric of task i after task
k was learned, S(i) that of `scratch` for task i, and a ⊘ b how many times as good a is as b: a ÷ b of what should
be high, b ÷ a of what should be low. With K tasks, the first of which makes the network that methods start from,

- relative quality is the mean of R(K, i) ⊘ S(i) over i = 1 … K: 1 is as good as a network of its own for each task.
  A method that keeps the network of the first task, which is that of `scratch`, has exactly 1 there;
- backward transfer is the mean of R(K, i) ⊘ R(i, i) − 1 over i = 1 … K − 1: 0 is nothing forgotten; towards −1
  the more is. Nothing gets there: of mIoU is left what needs no learning, and no error or loss is high enough;
- forward transfer is the mean of R(i, i) ⊘ S(i) − 1 over i = 2 … K: what a task gains, when it has just been
  learned, over starting from nothing. (The original measures a task before it is learned, for which a task's own
  head would have to be there.)

They divide where the original subtracts, since points of mIoU and of a loss cannot be averaged. Backward transfer
divides by R(i, i) and not by S(i), so that it needs no other method. Of each single task relative quality =
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
"""The method whose quality and size the others are relative to: a network of its own for each task."""

FIGURES = (
    "relative_quality",
    "backward_transfer",
    "forward_transfer",
    "bytes_per_added_task",
    "learn_bytes",
    "seconds",
    "peak_memory",
)
"""The columns of `forgetting.csv` after `method`; with several seeds each is followed by `<figure>_std`."""

Values = Mapping[tuple[int | str, ...], float]
"""Numbers by what they are of: seed, method, task, and what a table knows more of."""


class Scored(NamedTuple):
    """A task, and the metric that speaks for it."""

    task: str
    metric: Metric
    column: str
    """The metric's name in `metrics.csv`."""


def forgetting_table(
    metrics: pd.DataFrame,
    growth: pd.DataFrame,
    costs: pd.DataFrame,
    sequence: Sequence[tuple[str, str]],
    methods: Iterable[str],
) -> pd.DataFrame:
    """One row per measured method: each of `FIGURES`, as mean over the seeds and their sample standard deviation.

    metrics: the rows of `metrics.csv`. growth, costs: those of `analysis/growth.csv` and `analysis/costs.csv`,
    which may be empty. sequence: (task, kind) in the order of learning. Bytes, seconds and memory (MiB) are those
    of the tasks from the second on: bytes and seconds their mean, memory the most. `learn_bytes` are no mean, but
    all that going on after the last task needs beside what is needed to run. A figure of a seed is NaN where
    anything that it is made of was not measured, and stays out of the mean; figures of quality are those of
    `quality_figures`.

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
        found = [
            {
                **of_quality,
                "bytes_per_added_task": added(needed, tasks, seed, method),
                "learn_bytes": needed.get((seed, method, tasks[-1], "learn"), math.nan),
                "seconds": mean([seconds.get((seed, method, task), math.nan) for task in tasks[1:]]),
                "peak_memory": most([memory.get((seed, method, task), math.nan) for task in tasks[1:]]),
            }
            for seed, of_quality in quality[method].items()
        ]
        rows.append({"method": method, **over_seeds(found)})
    spread = metrics["seed"].nunique() > 1
    columns = [name for figure in FIGURES for name in ([figure, f"{figure}_std"] if spread else [figure])]
    return pd.DataFrame(rows, columns=["method", *columns])


def quality_figures(
    metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]
) -> dict[str, dict[int, dict[str, float]]]:
    """Return the three figures of quality of every measured method and seed, as the module defines them.

    They are NaN where a task was not measured, relative ones without `scratch`; a task whose kind has no metric
    that can be better or worse stays out of them.

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
    """Return the tasks with the metric of each; without those that have none with a better and a worse."""
    found = []
    for task, kind in sequence:
        names = list(dict.fromkeys(metrics.loc[metrics["task"] == task, "metric"]))
        key = KINDS[kind].key_metric if kind in KINDS else ""
        chosen = [key] if key in names else forgetting_metrics(kind, names)
        found += [Scored(task, describe(name, kind), name) for name in chosen[:1]]
    return found


def qualities(
    values: Values, scored: Sequence[Scored], tasks: Sequence[str], seed: int, method: str
) -> dict[str, float]:
    """Those of one method and seed."""
    final, backward, forward = [], [], []
    for task, metric, name in scored:
        alone = values.get((seed, REFERENCE, task, task, name), math.nan)
        learned = values.get((seed, method, task, task, name), math.nan)
        last = values.get((seed, method, task, tasks[-1], name), math.nan)
        final.append(times_as_good(metric, last, alone))
        if task != tasks[0]:
            forward.append(times_as_good(metric, learned, alone) - 1)
        if task != tasks[-1]:
            backward.append(times_as_good(metric, last, learned) - 1)
    return {
        "relative_quality": mean(final),
        "backward_transfer": mean(backward),
        "forward_transfer": mean(forward),
    }


def times_as_good(metric: Metric, value: float, reference: float) -> float:
    """value ÷ reference of what should be high, reference ÷ value of what should be low; equal ones give 1.

    NaN where one of them is, and where it would divide by zero.
    """
    above, below = (value, reference) if metric.better == "higher" else (reference, value)
    if above == below:
        return 1.0
    return above / below if below else math.nan


def added(needed: Values, tasks: Sequence[str], seed: int, method: str) -> float:
    """Bytes to run per task after the first: how much more the last one needs than the first; NaN for one task.

    What all tasks share, and later ones overwrite, thus counts for none of them.
    """
    first, last = (needed.get((seed, method, task, "run"), math.nan) for task in (tasks[0], tasks[-1]))
    return (last - first) / (len(tasks) - 1) if len(tasks) > 1 else math.nan


def by_key(table: pd.DataFrame, key: Sequence[str], column: str) -> Values:
    """One column of a table by what its rows are of; values that are not finite are left out."""
    rows = table[[*key, column]].itertuples(index=False, name=None)
    return {tuple(of): float(value) for *of, value in rows if math.isfinite(value)}


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of none, and where any is NaN: it would be the mean of something else."""
    return statistics.fmean(values) if values else math.nan


def most(values: Sequence[float]) -> float:
    """Return the largest; NaN of none, and where any is NaN."""
    return math.nan if not values or any(map(math.isnan, values)) else max(values)


def over_seeds(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean and, as `<figure>_std`, sample standard deviation of each figure over the seeds that have it."""
    row = {}
    for figure in found[0]:
        values = [of_seed[figure] for of_seed in found if math.isfinite(of_seed[figure])]
        row[figure] = mean(values)
        row[f"{figure}_std"] = statistics.stdev(values) if len(values) > 1 else math.nan
    return row
