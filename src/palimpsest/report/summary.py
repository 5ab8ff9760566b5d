"""The study's table from `metrics.csv` and `sizes.csv`.

summarise(metrics, sizes, sequence, methods, verification) → {method: {"task 1 coco-seg": {"miou": …}, …}}
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from palimpsest.analysis.accounting import MIB, bytes_needed
from palimpsest.analysis.tables import OUTCOMES, Outcome, columns_of, require_columns, worst
from palimpsest.errors import DataError
from palimpsest.metrics.described import describe, headlines, rounded
from palimpsest.settings import FLOOR
from palimpsest.storage.atomic import write_text


@dataclass(frozen=True)
class Matrix:
    """The forgetting matrix of a run: each task measured after each task that was learned since.

    sequence: (task, kind) in the order of learning. values: (method, task, after, metric) → one number per
    seed. checksums: (method, task, after) → {seed: SHA-256 of the predictions}. images: task → pictures
    measured on. outcomes: (method, task, after) → outcome of each seed's comparison with the predictions of the
    time of learning.
    """

    sequence: tuple[tuple[str, str], ...]
    values: Mapping[tuple[str, str, str, str], tuple[float, ...]]
    checksums: Mapping[tuple[str, str, str], Mapping[int, str]]
    images: Mapping[str, int]
    seeds: tuple[int, ...]
    outcomes: Mapping[tuple[str, str, str], tuple[str, ...]]

    def tasks_from(self, task: str) -> list[str]:
        """This task and all that are learned after it."""
        names = [name for name, _ in self.sequence]
        return names[names.index(task) :]

    def afters(self, method: str, task: str) -> list[str]:
        """After which tasks this one was measured; the first is when it was learned (`joint`: the last)."""
        return [after for after in self.tasks_from(task) if (method, task, after) in self.checksums]

    def metrics(self, task: str) -> list[str]:
        """Every metric that this task was measured by, under whatever method, in the order of the file."""
        return list(dict.fromkeys(metric for _, of, _, metric in self.values if of == task))

    def statistic(self, method: str, task: str, after: str, metric: str) -> tuple[float, float | None] | None:
        """Mean and sample standard deviation over the seeds (None for one seed); None where not measured."""
        values = self.values.get((method, task, after, metric))
        if not values:
            return None
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

    def unchanged(self, method: str, task: str, after: str) -> bool | None:
        """Whether the predictions are bit for bit those right after learning; None where nobody can tell."""
        first, now = (self.checksums.get((method, task, at)) for at in (self.afters(method, task)[0], after))
        if not first or not now or first.keys() != now.keys() or "" in (*first.values(), *now.values()):
            return None
        return first == now

    def outcome(self, method: str, task: str, after: str) -> Outcome | None:
        """Return whether a cell's predictions are those of the time of learning; the worst of all seeds."""
        return worst(self.outcomes.get((method, task, after), ()))

    def since_learned(self, method: str) -> dict[str, int]:
        """Return how many cells and seeds of a method have each outcome; nothing where none was compared."""
        found = [each for (of, _, _), outcomes in self.outcomes.items() if of == method for each in outcomes]
        return {outcome: found.count(outcome) for outcome in OUTCOMES} if found else {}


def forgetting_matrix(
    metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]], verification: pd.DataFrame
) -> Matrix:
    """Read the rows of `metrics.csv` and `verification.csv`. Values that are not finite count as not measured.

    Raises DataError for a missing column, a row that stands there twice, and a task outside the sequence.
    """
    columns = columns_of("metrics")
    require_columns(metrics, columns, "metrics.csv")
    names = [task for task, _ in sequence]
    unknown = sorted((set(metrics["task"]) | set(metrics["after"])) - set(names))
    if unknown:
        raise DataError(f"metrics.csv: task {unknown[0]!r} is not in the sequence ({', '.join(names)})")
    key = ["seed", "method", "task", "after", "metric"]
    twice = metrics[metrics.duplicated(key)]
    if len(twice):
        raise DataError(f"metrics.csv: measured twice: {', '.join(str(v) for v in twice[key].iloc[0])}")

    values: dict[tuple[str, str, str, str], list[float]] = {}
    checksums: dict[tuple[str, str, str], dict[int, str]] = {}
    images: dict[str, int] = {}
    rows = metrics.sort_values("seed", kind="stable")[columns].itertuples(index=False, name=None)
    for seed, method, task, after, metric, value, count, checksum in rows:
        found = checksums.setdefault((method, task, after), {})
        text = checksum if isinstance(checksum, str) else ""
        if found.setdefault(int(seed), text) != text:
            raise DataError(f"metrics.csv: two checksums for one cell: {seed}, {method}, {task}, {after}")
        images[task] = max(int(count), images.get(task, 0))
        if math.isfinite(value):
            values.setdefault((method, task, after, metric), []).append(float(value))
    return Matrix(
        sequence=tuple((task, kind) for task, kind in sequence),
        values={cell: tuple(numbers) for cell, numbers in values.items()},
        checksums=checksums,
        images=images,
        seeds=tuple(sorted({int(seed) for seed in metrics["seed"]})),
        outcomes=_outcomes(verification),
    )


def _outcomes(verification: pd.DataFrame) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return the outcomes of each cell, one per seed.

    Raises:
        DataError: a column is missing, or an outcome is unknown.
    """
    columns = columns_of("verification")
    require_columns(verification, columns, "verification.csv")
    outcomes: dict[tuple[str, str, str], list[str]] = {}
    rows = verification.sort_values("seed", kind="stable")[columns[:-1]].itertuples(index=False, name=None)
    for _, method, task, after, outcome in rows:
        if outcome not in OUTCOMES:
            raise DataError(f"verification.csv: unknown outcome {outcome!r}; there are {', '.join(OUTCOMES)}")
        outcomes.setdefault((method, task, after), []).append(outcome)
    return {cell: tuple(found) for cell, found in outcomes.items()}


def summarise(
    metrics: pd.DataFrame,
    sizes: pd.DataFrame,
    sequence: Sequence[tuple[str, str]],
    methods: Sequence[str],
    verification: pd.DataFrame,
) -> dict[str, Any]:
    """The study's table, nested for `dvc metrics show`; `floor` comes first, then the methods as given.

    Per method: `task <n> <name>` → its headline metrics right after learning; `forgetting` → `<task> after
    <task>` → the same metrics after the next task and after the last; `since_learned` → how many cells of the
    matrix have predictions that are verified, changed or not comparable since the task was learned; `size_mib` →
    weights only, the study's accounting, MiB; `bytes` → all files needed to run; `learn_bytes` → what only
    further learning needs. With several seeds each metric is a mean, and `<metric>_std` the sample standard
    deviation. What was not measured is left out, so that the result is valid JSON.
    """
    matrix = forgetting_matrix(metrics, sequence, verification)
    table: dict[str, Any] = {}
    for method in [FLOOR, *(name for name in methods if name != FLOOR)]:
        entry: dict[str, Any] = {}
        forgetting: dict[str, Any] = {}
        for number, (task, kind) in enumerate(sequence, 1):
            afters = matrix.afters(method, task)
            if not afters:
                continue
            entry[f"task {number} {task}"] = _cell(matrix, kind, method, task, afters[0])
            for after in dict.fromkeys([*afters[1:2], *afters[1:][-1:]]):
                forgetting[f"{task} after {after}"] = _cell(matrix, kind, method, task, after)
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
    """Write `summary.json`; the same summary gives the same bytes."""
    write_text(destination, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _cell(matrix: Matrix, kind: str, method: str, task: str, after: str) -> dict[str, float]:
    """The headline metrics of one cell of the matrix, rounded, and `<metric>_std` with several seeds."""
    cell = {}
    for name in headlines(kind, matrix.metrics(task)):
        found = matrix.statistic(method, task, after, name)
        if found is None:
            continue
        metric = describe(name, kind)
        cell[name] = rounded(metric, found[0])
        if found[1] is not None:
            cell[f"{name}_std"] = rounded(metric, found[1], found[0])
    return cell
