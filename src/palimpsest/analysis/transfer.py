"""Quality of each method relative to `scratch` and the trivial baseline, its forgetting, and the cost of a task.

Let R(k, i) be the key metric of task i after training on task k, S(i) that of `scratch` for task i, and F(i) that
of the trivial baseline. K is the number of tasks; the first trains the base network. The quality of a value v of
task i is

    q(v) = (v − F(i)) ÷ (S(i) − F(i)),

so 0 is nothing learned and 1 is as good as a separate network. Baselines of losses are a hundred times as large as
the losses; for them v, F and S are replaced by their logarithms (`Metric.logarithmic`). From q follow, after
Lopez-Paz and Ranzato, Gradient episodic memory for continual learning, NIPS 2017:

- Final quality: the mean of q(R(K, i)) over i = 1 … K.
- Backward transfer: the mean of q(R(K, i)) − q(R(i, i)) over i = 1 … K − 1; 0 means no forgetting.
- Forward transfer: the mean of q(R(i, i)) − 1 over i = 2 … K, the gain right after training over a training from
  random weights. (The original measures a task before training, which would need a trained head.)
- Excess loss: the mean of R(K, i) ÷ S(i) − 1 over the tasks with a logarithmic metric.

A task whose S is not better than F has no such scale and is left out of all means.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd

from palimpsest.analysis.significance import Comparison, best, comparisons
from palimpsest.analysis.tables import columns_of, require_columns
from palimpsest.methods import by_required_network
from palimpsest.metrics.described import describe, forgetting_metrics
from palimpsest.metrics.metric import Metric
from palimpsest.settings import FLOOR, REFERENCE
from palimpsest.tasks import KINDS

QUALITY_FIGURES = ("final_quality", "final_quality_error", "backward_transfer", "forward_transfer", "excess_loss")
"""Figures of quality; `final_quality_error` is the standard error of the first from the validation pictures."""
FIGURES = (*QUALITY_FIGURES, "bytes_per_added_task", "learn_bytes", "seconds", "peak_memory")
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
    quality: pd.DataFrame,
    growth: pd.DataFrame,
    costs: pd.DataFrame,
    sequence: Sequence[tuple[str, str]],
    methods: Iterable[str],
) -> pd.DataFrame:
    """Return the table of `forgetting.csv`: per measured method, mean and standard deviation of each of `FIGURES`.

    quality: the table of `quality_table`. growth, costs: the tables of these names, maybe without rows. sequence:
    (task, kind) in the order of learning. Bytes and seconds are means over the tasks from the second on, memory
    (MiB) is their maximum. `learn_bytes` is the whole training state after the last task, without the inference
    state. A figure of a seed is NaN if one of its parts was not measured; the mean over seeds leaves it out.
    `final_quality_best` is True for the methods whose final quality no other method on the same network beats
    significantly (`palimpsest.analysis.significance.best`).

    Raises:
        DataError: a table lacks a column.
    """
    of_quality = quality_figures(quality, sequence)
    require_columns(growth, columns_of("growth"), "growth.csv")
    require_columns(costs, columns_of("costs"), "costs.csv")
    tasks = [task for task, _ in sequence]
    needed = by_key(growth, ["seed", "method", "task", "needed_to"], "bytes")
    seconds, memory = (by_key(costs, ["seed", "method", "task"], name) for name in ("seconds", "peak_memory"))
    measured = [method for method in methods if method in of_quality]
    best_methods = best_in_final_quality({method: of_quality[method] for method in measured})
    rows: list[dict[str, object]] = []
    for method in measured:
        figures = [
            {
                **quality_of_seed,
                "bytes_per_added_task": bytes_per_added_task(needed, tasks, seed, method),
                "learn_bytes": needed.get((seed, method, tasks[-1], "learn"), math.nan),
                "seconds": mean([seconds.get((seed, method, task), math.nan) for task in tasks[1:]]),
                "peak_memory": largest([memory.get((seed, method, task), math.nan) for task in tasks[1:]]),
            }
            for seed, quality_of_seed in of_quality[method].items()
        ]
        best_mark = {"final_quality_best": method in best_methods}
        rows.append({"method": method, **mean_over_seeds(figures), **best_mark})
    spread = quality["seed"].nunique() > 1
    columns = [
        name
        for figure in FIGURES
        for name in ([figure, f"{figure}_std"] if spread and not figure.endswith("_error") else [figure])
    ]
    return pd.DataFrame(rows, columns=["method", *columns, "final_quality_best"])


def best_in_final_quality(figures: Mapping[str, Mapping[int, Mapping[str, float]]]) -> set[str]:
    """Return the methods whose final quality no other method on the same network beats significantly.

    figures: `quality_figures`. Methods without a final quality are left out.
    """
    badness = {
        method: [-of_seed["final_quality"] for of_seed in seeds.values()] for method, seeds in figures.items()
    }
    known = [method for method, values in badness.items() if all(map(math.isfinite, values))]
    groups = by_required_network(known).values()
    return set().union(*(best({method: badness[method] for method in group}) for group in groups))


def quality_table(metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return the table of `quality.csv`, a row per seed, method and task with a metric that has a direction.

    metrics: the table of `metrics.csv`. sequence: (task, kind) in the order of learning. Columns:

    - learned, final: quality q right after training on the task, and after the last training;
    - error: standard error of ``final`` from the sampling of validation pictures (`error_of_quality`);
    - excess: R(K, i) ÷ S(i) − 1 for logarithmic metrics;
    - has_scale: whether `scratch` is better than the trivial baseline with every seed.

    A value is NaN if it was not measured or does not exist, and quality also for tasks without scale.

    Raises:
        DataError: the table lacks a column.
    """
    require_columns(metrics, columns_of("metrics"), "metrics.csv")
    key = ["seed", "method", "task", "after", "metric"]
    values, errors = (by_key(metrics, key, column) for column in ("value", "std_error"))
    seeds = sorted({int(seed) for seed in metrics["seed"]})
    methods = [method for method in dict.fromkeys(metrics["method"]) if method != FLOOR]
    scored, last_task = scored_tasks(metrics, sequence), sequence[-1][0]
    with_scale = tasks_with_scale(values, scored, seeds)
    rows = []
    for seed, method, (task, metric, name) in product(seeds, methods, scored):

        def measured(by: str, after: str, column: Values = values) -> float:
            return column.get((seed, by, task, after, name), math.nan)  # noqa: B023 (called in this turn)

        floor, reference = measured(FLOOR, task), measured(REFERENCE, task)
        if task not in with_scale:
            floor = math.nan
        final = measured(method, last_task)
        rows.append(
            {
                "seed": seed,
                "method": method,
                "task": task,
                "learned": quality(metric, measured(method, task), floor, reference),
                "final": quality(metric, final, floor, reference),
                "error": error_of_quality(
                    metric,
                    (final, measured(method, last_task, errors)),
                    floor,
                    (reference, measured(REFERENCE, task, errors)),
                ),
                "excess": final / reference - 1 if metric.logarithmic else math.nan,
                "has_scale": task in with_scale,
            }
        )
    return pd.DataFrame(rows, columns=QUALITY_COLUMNS)


def tasks_without_scale(quality: pd.DataFrame) -> list[str]:
    """Return the tasks in `quality_table` that are left out of all means, if `scratch` was measured."""
    measured = REFERENCE in set(quality["method"])
    return list(dict.fromkeys(quality.loc[~quality["has_scale"], "task"])) if measured else []


QUALITY_COLUMNS = ["seed", "method", "task", "learned", "final", "error", "excess", "has_scale"]
"""Columns of `quality.csv`."""


def quality_figures(
    quality: pd.DataFrame, sequence: Sequence[tuple[str, str]]
) -> dict[str, dict[int, dict[str, float]]]:
    """Return `QUALITY_FIGURES` by method and seed, as the docstring of this module defines them.

    quality: the table of `quality_table`. A figure is NaN if one of its values was not measured.
    `final_quality_error` is the standard error of the final quality from the sampling of validation pictures.
    """
    first_task, last_task = sequence[0][0], sequence[-1][0]
    figures: dict[str, dict[int, dict[str, float]]] = {}
    losses = set(quality.loc[quality["excess"].notna(), "task"])
    for method, seed in quality[["method", "seed"]].drop_duplicates().itertuples(index=False, name=None):
        of_tasks = quality[(quality["method"] == method) & (quality["seed"] == seed) & quality["has_scale"]]
        change = of_tasks["final"] - of_tasks["learned"]
        figures.setdefault(method, {})[seed] = {
            "final_quality": mean([*of_tasks["final"]]),
            "final_quality_error": mean_of_errors([*of_tasks["error"]]),
            "backward_transfer": mean([*change[of_tasks["task"] != last_task]]),
            "forward_transfer": mean([*(of_tasks["learned"][of_tasks["task"] != first_task] - 1)]),
            "excess_loss": mean([*of_tasks.loc[of_tasks["task"].isin(losses), "excess"]]),
        }
    return figures


def comparison_table(quality: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """Return the table of `comparisons.csv`: task, stage, method, other, difference, p, for each pair of methods.

    quality: the table of `quality_table`. Only methods on the same network are compared. ``stage`` is *learned* or
    *final*. ``difference`` is that of the means over the seeds of quality q, and ``p`` the p-value of Welch's test,
    NaN for fewer than two seeds. The task *all* is the mean over all tasks with a scale; without a measurement of
    one of them, a method has none.
    """
    by_training = quality[quality["has_scale"]].groupby(["seed", "method"], as_index=False, sort=False)
    means = by_training.agg(final=("final", lambda column: column.mean(skipna=False))).assign(task="all")
    long = pd.concat([quality, means]).melt(["seed", "method", "task"], ["learned", "final"], "stage").dropna()
    rows: list[tuple[object, ...]] = []
    for (task, stage), cell in long.groupby(["task", "stage"], sort=False):
        values = {method: [*of_method["value"]] for method, of_method in cell.groupby("method")}
        for group in by_required_network(method for method in methods if method in values).values():
            rows += [(task, stage, *pair) for pair in comparisons({method: values[method] for method in group})]
    return pd.DataFrame(rows, columns=["task", "stage", *Comparison._fields])


def scored_tasks(metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]) -> list[Scored]:
    """Return the tasks of the sequence with their key metrics, without tasks that have no metric with direction."""
    scored = []
    for task, kind in sequence:
        names = list(dict.fromkeys(metrics.loc[metrics["task"] == task, "metric"]))
        key = KINDS[kind].key_metric if kind in KINDS else ""
        candidates = [key] if key in names else forgetting_metrics(kind, names)
        scored += [Scored(task, describe(name, kind), name) for name in candidates[:1]]
    return scored


def tasks_with_scale(values: Values, scored: Sequence[Scored], seeds: Iterable[int]) -> set[str]:
    """Return the tasks in which `scratch` is better than the trivial baseline with every seed."""

    def better(entry: Scored, seed: int) -> bool:
        floor, reference = (
            values.get((seed, by, entry.task, entry.task, entry.column), math.nan) for by in (FLOOR, REFERENCE)
        )
        return reference > floor if entry.metric.better == "higher" else reference < floor

    return {entry.task for entry in scored if all(better(entry, seed) for seed in seeds)}


def quality(metric: Metric, value: float, floor: float, reference: float) -> float:
    """Return the quality q of a value, relative to the trivial baseline (0) and `scratch` (1); NaN gives NaN."""
    if value == reference and math.isfinite(floor):
        return 1.0
    return (scale(metric, value) - scale(metric, floor)) / (scale(metric, reference) - scale(metric, floor))


def error_of_quality(
    metric: Metric, value: tuple[float, float], floor: float, reference: tuple[float, float]
) -> float:
    """Return the standard error of the quality q from those of its value and of `scratch`, to first order.

    ``value`` and ``reference`` are a figure and its standard error. The errors are taken as independent, which
    overestimates: both are measured on the same pictures. Equal figures, as those of a shared base network, are
    the same measurement and have q = 1 without an error.
    """
    (v, of_v), (s, of_s) = value, reference
    if metric.logarithmic:  # to first order, the error of a logarithm is the relative error
        of_v, of_s = of_v / v, of_s / s
    span = scale(metric, s) - scale(metric, floor)
    return 0.0 * span if v == s else math.hypot(of_v, quality(metric, v, floor, s) * of_s) / abs(span)


def scale(metric: Metric, value: float) -> float:
    """Return the logarithm of the value of a logarithmic metric, −∞ for 0; other values as they are."""
    if not metric.logarithmic:
        return value
    return math.log(value) if value else -math.inf


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


def mean_of_errors(errors: Sequence[float]) -> float:
    """Return the standard error of a mean from the standard errors of its values; NaN for no values.

    The values are taken as independent. Tasks on the same pictures are not quite, which underestimates.
    """
    return math.sqrt(sum(error**2 for error in errors)) / len(errors) if errors else math.nan


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
