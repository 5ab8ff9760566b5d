"""Summary of a preset's results: `summary.json`, from the tables metrics, sizes and verification."""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from palimpsest.analysis.accounting import MIB, bytes_needed
from palimpsest.analysis.significance import best, total_deviation
from palimpsest.analysis.tables import OUTCOMES, TABLE_ADVICE, Outcome, columns_of, require_columns, worst
from palimpsest.errors import DataError
from palimpsest.methods import by_required_network
from palimpsest.metrics.described import badness, describe, headlines, rounded
from palimpsest.metrics.metric import Metric
from palimpsest.settings import FLOOR
from palimpsest.storage.atomic import write_text


@dataclass(frozen=True)
class Matrix:
    """Forgetting matrices of all methods: each task measured after its own training and after each later training.

    A cell has the key (method, task, after): ``task`` was measured after the training on ``after``.
    """

    sequence: tuple[tuple[str, str], ...]
    """(task, kind) in the order of learning."""
    values: Mapping[tuple[str, str, str, str], tuple[float, ...]]
    """One number per seed by (method, task, after, metric)."""
    errors: Mapping[tuple[str, str, str, str], float]
    """Bootstrap standard error over pictures, mean over seeds, by (method, task, after, metric)."""
    checksums: Mapping[tuple[str, str, str], Mapping[int, str]]
    """SHA-256 of the predictions by cell and seed; empty if it was not recorded."""
    images: Mapping[str, int]
    """Number of validation pictures by task."""
    seeds: tuple[int, ...]
    outcomes: Mapping[tuple[str, str, str], tuple[str, ...]]
    """Outcome of comparing the predictions with those recorded after training, by cell, one per seed."""

    def tasks_from(self, task: str) -> list[str]:
        """Return a task and all later tasks, in the order of learning."""
        names = [name for name, _ in self.sequence]
        return names[names.index(task) :]

    def afters(self, method: str, task: str) -> list[str]:
        """Return the tasks after whose training `task` was measured, `task` itself first; empty if never measured.

        For `joint` this is only the last task.
        """
        return [after for after in self.tasks_from(task) if (method, task, after) in self.checksums]

    def metrics(self, task: str) -> list[str]:
        """Return the names of the metrics of a task under any method, in the order of `metrics.csv`."""
        return list(dict.fromkeys(metric for _, name, _, metric in self.values if name == task))

    def statistic(self, method: str, task: str, after: str, metric: str) -> tuple[float, float | None] | None:
        """Return mean and sample standard deviation (None for one seed) over the seeds; None if not measured."""
        values = self.values.get((method, task, after, metric))
        if not values:
            return None
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

    def deviation(self, method: str, task: str, after: str, metric: str) -> float | None:
        """Return the deviation of a mean, None if unknown; its variances over seeds and pictures are added."""
        statistic = self.statistic(method, task, after, metric)
        return total_deviation(statistic[1] if statistic else None, self.errors.get((method, task, after, metric)))

    def best(
        self, metric: Metric, name: str, methods: Iterable[str], task: str, after: str | None = None
    ) -> set[str]:
        """Return the methods that no other one on the same network beats significantly in a metric of a task.

        The floor is never among them. The task was measured after the training on ``after``; if this is None, under
        each method at its first measurement. See `palimpsest.analysis.significance.best`.
        """
        scores = {}
        for method in methods:
            measured_after = after or next(iter(self.afters(method, task)), "")
            values = self.values.get((method, task, measured_after, name), ())
            bad = [badness(metric, value) for value in values]
            if method != FLOOR and (numbers := [value for value in bad if value is not None]):
                scores[method] = numbers
        groups = by_required_network(scores).values()
        return set().union(*(best({method: scores[method] for method in group}) for group in groups))

    def unchanged(self, method: str, task: str, after: str) -> bool | None:
        """Return whether the predictions equal those right after training bit for bit, for all seeds.

        None if a checksum is missing. The task has to be measured under the method.
        """
        learned, now = (self.checksums.get((method, task, a)) for a in (self.afters(method, task)[0], after))
        if not learned or not now or learned.keys() != now.keys() or "" in (*learned.values(), *now.values()):
            return None
        return learned == now

    def outcome(self, method: str, task: str, after: str) -> Outcome | None:
        """Return the worst outcome of a cell over all seeds; None if its predictions were not compared."""
        return worst(self.outcomes.get((method, task, after), ()))

    def since_learned(self, method: str) -> dict[str, int]:
        """Return, by outcome, the number of comparisons of a method, one per cell and seed; empty without any."""
        of_method = [
            outcome for (name, _, _), outcomes in self.outcomes.items() if name == method for outcome in outcomes
        ]
        return {outcome: of_method.count(outcome) for outcome in OUTCOMES} if of_method else {}


def matrix_of_tables(
    metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]], verification: pd.DataFrame
) -> Matrix:
    """Return the forgetting matrices in the tables of `metrics.csv` and `verification.csv`.

    sequence: (task, kind) in the order of learning. Values that are not finite are left out.

    Raises:
        DataError: a column is missing, a row is duplicated, or a task is not in the sequence.
    """
    columns = columns_of("metrics")
    require_columns(metrics, columns, "metrics.csv")
    names = [task for task, _ in sequence]
    unknown = sorted((set(metrics["task"]) | set(metrics["after"])) - set(names))
    if unknown:
        raise DataError(
            f"metrics.csv: task {unknown[0]!r} is not in the sequence {', '.join(names)}; {TABLE_ADVICE}"
        )
    key = ["seed", "method", "task", "after", "metric"]
    duplicates = metrics[metrics.duplicated(key)]
    if len(duplicates):
        cell = ", ".join(str(value) for value in duplicates[key].iloc[0])
        raise DataError(f"metrics.csv: duplicate row for {cell}; {TABLE_ADVICE}")

    values: dict[tuple[str, str, str, str], list[float]] = {}
    errors: dict[tuple[str, str, str, str], list[float]] = {}
    checksums: dict[tuple[str, str, str], dict[int, str]] = {}
    images: dict[str, int] = {}
    rows = metrics.sort_values("seed", kind="stable")[columns].itertuples(index=False, name=None)
    for seed, method, task, after, metric, value, count, checksum, error in rows:
        by_seed = checksums.setdefault((method, task, after), {})
        text = checksum if isinstance(checksum, str) else ""
        if by_seed.setdefault(int(seed), text) != text:
            raise DataError(
                f"metrics.csv: two checksums for one cell: {seed}, {method}, {task}, {after}; {TABLE_ADVICE}"
            )
        images[task] = max(int(count), images.get(task, 0))
        if math.isfinite(value):
            values.setdefault((method, task, after, metric), []).append(float(value))
        if math.isfinite(error):
            errors.setdefault((method, task, after, metric), []).append(float(error))
    return Matrix(
        sequence=tuple((task, kind) for task, kind in sequence),
        values={cell: tuple(numbers) for cell, numbers in values.items()},
        errors={cell: statistics.fmean(numbers) for cell, numbers in errors.items()},
        checksums=checksums,
        images=images,
        seeds=tuple(sorted({int(seed) for seed in metrics["seed"]})),
        outcomes=_outcomes(verification),
    )


def _outcomes(verification: pd.DataFrame) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return the outcomes in the table of `verification.csv`, by cell (method, task, after), one per seed.

    Raises:
        DataError: a column is missing, or an outcome is unknown.
    """
    columns = columns_of("verification")
    require_columns(verification, columns, "verification.csv")
    outcomes: dict[tuple[str, str, str], list[str]] = {}
    rows = verification.sort_values("seed", kind="stable")[columns[:-1]].itertuples(index=False, name=None)
    for _, method, task, after, outcome in rows:
        if outcome not in OUTCOMES:
            expected = ", ".join(OUTCOMES)
            raise DataError(f"verification.csv: unknown outcome {outcome!r}, expected {expected}; {TABLE_ADVICE}")
        outcomes.setdefault((method, task, after), []).append(outcome)
    return {cell: tuple(by_seed) for cell, by_seed in outcomes.items()}


def summarise(
    metrics: pd.DataFrame,
    sizes: pd.DataFrame,
    sequence: Sequence[tuple[str, str]],
    methods: Sequence[str],
    verification: pd.DataFrame,
) -> dict[str, Any]:
    """Return the content of `summary.json` for `dvc metrics show`: an entry for `floor` and for each method.

    metrics, sizes, verification: the tables of these names. sequence: (task, kind) in the order of learning.

    Content of an entry: `task <n> <name>` → headline metrics right after training; `forgetting` → `<task> after
    <task>` → the same metrics after the next task and after the last; `since_learned` → number of cells whose
    predictions are verified, changed or not comparable since training; `size_mib` → MiB of the weights alone, as
    the study counts; `bytes` → all files needed for inference; `learn_bytes` → files needed only for further
    training. `<metric>_se` is the bootstrap standard error of a metric over the pictures. With several seeds each
    metric is a mean, `<metric>_std` is the sample standard deviation, and `<metric>_best` is 1 for the methods that
    no other method on the same network beats significantly (`palimpsest.analysis.significance.best`). Figures that
    were not measured are left out, because NaN is not valid JSON.

    Raises:
        DataError: a table lacks a column or is inconsistent.
    """
    matrix = matrix_of_tables(metrics, sequence, verification)

    @cache  # one call serves the cells of all methods
    def best_in(kind: str, name: str, task: str, after: str | None) -> set[str]:
        return matrix.best(describe(name, kind), name, methods, task, after)

    table: dict[str, Any] = {}
    for method in [FLOOR, *(name for name in methods if name != FLOOR)]:
        entry: dict[str, Any] = {}
        forgetting: dict[str, Any] = {}
        for number, (task, kind) in enumerate(sequence, 1):
            afters = matrix.afters(method, task)
            if not afters:
                continue
            entry[f"task {number} {task}"] = _cell(matrix, kind, best_in, method, task)
            for after in dict.fromkeys([*afters[1:2], *afters[1:][-1:]]):
                forgetting[f"{task} after {after}"] = _cell(matrix, kind, best_in, method, task, after)
        if not entry:
            continue
        if method != FLOOR:
            entry["forgetting"] = forgetting
            if since_learned := matrix.since_learned(method):
                entry["since_learned"] = since_learned
            weights = bytes_needed(sizes, "run", method, weights_only=True)
            if not math.isnan(weights):
                entry["size_mib"] = round(weights / MIB, 3)
                entry["bytes"] = round(bytes_needed(sizes, "run", method))
                entry["learn_bytes"] = round(bytes_needed(sizes, "learn", method))
        table[method] = entry
    return table


def write_summary(destination: Path, summary: Mapping[str, Any]) -> None:
    """Write `summary.json`; equal summaries give equal bytes."""
    write_text(destination, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _cell(
    matrix: Matrix,
    kind: str,
    best_in: Callable[[str, str, str, str | None], set[str]],
    method: str,
    task: str,
    after: str | None = None,
) -> dict[str, float]:
    """Return the rounded headline metrics of a task after training on `after`, with deviations and marks.

    best_in: function that returns the best methods, given kind, metric, task and after. after: None for the first
    measurement.
    """
    cell = {}
    measured_after = after or matrix.afters(method, task)[0]
    for name in headlines(kind, matrix.metrics(task)):
        statistic = matrix.statistic(method, task, measured_after, name)
        if statistic is None:
            continue
        mean, deviation = statistic
        metric = describe(name, kind)
        cell[name] = rounded(metric, mean)
        if deviation is not None:
            cell[f"{name}_std"] = rounded(metric, deviation, mean)
        if (error := matrix.errors.get((method, task, measured_after, name))) is not None:
            cell[f"{name}_se"] = rounded(metric, error, mean)
        if method in best_in(kind, name, task, after):
            cell[f"{name}_best"] = 1
    return cell
