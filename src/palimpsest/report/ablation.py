"""Ablations in the report and in pages: methods under equal changed settings, and quality against training steps.

`snakemake ablations` writes the two files of each ablation, measured on the validation split with all seeds; the
report includes those that exist.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.analysis.tables import columns_of, columns_of_ablation
from palimpsest.analysis.transfer import forgetting_table, quality_table
from palimpsest.errors import DataError
from palimpsest.layout import making_command
from palimpsest.metrics.described import describe, format_value, metric_title
from palimpsest.metrics.metric import Metric
from palimpsest.report.readme import Cell, markdown, methods_cells, methods_markdown
from palimpsest.report.summary import Matrix, matrix_of_tables, summarise
from palimpsest.settings import FLOOR, REFERENCE
from palimpsest.tasks import KINDS
from palimpsest.variants import ablation_tables

STEPS = "training.steps"
"""Setting on the horizontal axis of the curves."""

TaskKinds = Sequence[tuple[str, str]]
"""(task, kind) in the order of learning."""


class Ablation(NamedTuple):
    """Measurements of several methods under changed settings."""

    name: str
    metrics: pd.DataFrame
    """Table with `columns_of_ablation`, also for the trivial baseline, whose steps are 0 and bytes unknown."""
    changes: dict[str, tuple[str, str]]
    """Value in the ablation and value in the preset, by setting; in a joined ablation by `<name>: <setting>`."""

    @property
    def methods(self) -> list[str]:
        """Methods, without the trivial baseline."""
        return [name for name in dict.fromkeys(self.metrics["method"]) if name != FLOOR]

    def tasks(self, sequence: TaskKinds) -> list[tuple[str, str]]:
        """Return the tasks of the preset's sequence that the ablation trained, with their kinds."""
        return [(task, kind) for task, kind in sequence if task in set(self.metrics["task"])]

    def of_tasks(self, tasks: TaskKinds) -> pd.DataFrame:
        """Return the rows of `metrics` that were measured on these tasks, after trainings on these tasks."""
        names = [task for task, _ in tasks]
        return self.metrics[self.metrics["task"].isin(names) & self.metrics["after"].isin(names)]


def load_ablations(results: Path) -> list[Ablation]:
    """Return the ablations in a preset's folder of results, by name.

    Raises:
        DataError: a file cannot be read.
    """
    return [load_ablation(path) for path in ablation_tables(results)]


def load_ablation(path: Path) -> Ablation:
    """Return the ablation in `<name>.csv`, the file `path`, and in `<name>-settings.csv` beside it.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        metrics = pd.read_csv(path, dtype={"checksum": str, "task": str, "after": str})[columns_of_ablation()]
        settings = pd.read_csv(path.with_stem(f"{path.stem}-settings"), dtype=str, keep_default_na=False)
        rows = settings[["setting", "set_to", "in_preset"]].itertuples(index=False, name=None)
        return Ablation(path.stem, metrics, {setting: (new, old) for setting, new, old in rows})
    except (ValueError, KeyError, OSError) as error:
        raise DataError(
            f"{path}: not a readable table ({error}); delete it and run `{making_command(path, 'ablations')}`"
        ) from error


def ablation_cells(ablation: Ablation, sequence: TaskKinds) -> tuple[list[str], list[list[Cell]]]:
    """Return header and rows of a table with a row per method: metrics right after training, and final quality.

    Quality is relative to `scratch` under the same changes. Without a task in common with the sequence, there are
    no columns.
    """
    tasks = ablation.tasks(sequence)
    if not tasks:
        return [], []
    empty = {name: pd.DataFrame(columns=columns_of(name)) for name in ("sizes", "verification")}
    summary = summarise(ablation.of_tasks(tasks), empty["sizes"], tasks, ablation.methods, empty["verification"])
    return methods_cells(summary, figures(ablation, tasks))


def figures(ablation: Ablation, tasks: TaskKinds) -> pd.DataFrame:
    """Return quality, transfers and bytes of each method, as in `forgetting.csv`; see `forgetting_table`."""
    metrics = ablation.of_tasks(tasks)
    growth = metrics.drop_duplicates(["seed", "method", "task"]).assign(needed_to="run").dropna(subset="bytes")
    costs = pd.DataFrame(columns=columns_of("costs"))
    quality = quality_table(metrics, tasks)
    return forgetting_table(quality, growth[columns_of("growth")], costs, tasks, ablation.methods)


def joined_figures(joined: Sequence[Ablation], sequence: TaskKinds) -> dict[str, pd.DataFrame]:
    """Return the `figures` of joined ablations by method; see `by_method`."""
    return {ablation.name: figures(ablation, ablation.tasks(sequence)) for ablation in joined}


def by_method(ablations: Sequence[Ablation], sequence: TaskKinds) -> tuple[list[Ablation], list[Ablation]]:
    """Return the ablations of single methods, joined for each method, and all others.

    An ablation of a single method changes nothing but settings of that method, and trains all tasks. In a joined
    ablation, which has the name of the method, the names of the ablations replace that of the method.
    """
    joined: dict[str, Ablation] = {}
    others = []
    for ablation in ablations:
        method = single_method(ablation)
        if method is None or len(ablation.tasks(sequence)) < len(sequence):
            others.append(ablation)
            continue
        rows = ablation.metrics
        named = rows.assign(method=rows["method"].replace(method, ablation.name))
        earlier = joined.get(method, Ablation(method, named[:0], {}))
        new = ~named["method"].isin(earlier.metrics["method"])  # of `scratch` and the baseline, once
        changes = {f"{ablation.name}: {setting}": values for setting, values in ablation.changes.items()}
        joined[method] = Ablation(method, pd.concat([earlier.metrics, named[new]]), {**earlier.changes, **changes})
    return [*joined.values()], others


def single_method(ablation: Ablation) -> str | None:
    """Return the only method of an ablation except `scratch`, if all changes are settings of that method.

    None for all other ablations.
    """
    methods = [name for name in ablation.methods if name != REFERENCE]
    if len(methods) != 1:
        return None
    (method,) = methods
    rates = (f"learning_rates.{method}", f"encoder_lr_multipliers.{method}")
    settings = f"method_settings.{method}."
    of_method = all(changed in rates or changed.startswith(settings) for changed in ablation.changes)
    return method if of_method else None


def ablation_table(ablation: Ablation, sequence: TaskKinds) -> str:
    """Return the table of `ablation_cells` as Markdown."""
    return methods_markdown(*ablation_cells(ablation, sequence))


class Curve(NamedTuple):
    """Key metric of a task against the number of training steps."""

    task: str
    metric: Metric
    points: dict[str, list[tuple[int, float, float, float]]]
    """Steps, mean, deviation (NaN if unknown) and quality relative to `scratch` (NaN if unknown), by method."""


def curves(ablations: Sequence[Ablation], sequence: TaskKinds) -> list[Curve]:
    """Return a curve for each task after the first, from ablations that change nothing but the number of steps.

    A task whose trainings all have the same number of steps has no curve.
    """
    of_steps = [ablation for ablation in by_method(ablations, sequence)[1] if is_of_steps(ablation)]
    if not of_steps:
        return []
    methods = [name for name in of_steps[0].methods if all(name in ablation.methods for ablation in of_steps)]
    curves = []
    for task, kind in sequence[1:]:
        key = KINDS[kind].key_metric
        points: dict[str, list[tuple[int, float, float, float]]] = {method: [] for method in methods}
        for ablation in of_steps:
            rows = ablation.of_tasks([(task, kind)])
            for method, point in points_of(rows, methods, (task, kind), key):
                steps = rows.loc[rows["method"] == method, "steps"].iloc[0]
                points[method].append((int(steps), *point))
        if len({steps for of_method in points.values() for steps, *_ in of_method}) > 1:
            curves.append(Curve(task, describe(key, kind), {name: sorted(points[name]) for name in methods}))
    return curves


def is_of_steps(ablation: Ablation) -> bool:
    """Return whether an ablation changes nothing but the number of steps and the length of the sequence."""
    return ablation.changes.keys() <= {STEPS, "sequence"}


def points_of(
    rows: pd.DataFrame, methods: Sequence[str], task: tuple[str, str], key: str
) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield mean, deviation and quality of each measured method on one task right after its training."""
    name = task[0]
    matrix: Matrix = matrix_of_tables(rows, [task], pd.DataFrame(columns=columns_of("verification")))
    quality = quality_table(rows, [task]).groupby("method")["learned"].mean()
    for method in methods:
        statistic = matrix.statistic(method, name, name, key)
        if statistic is not None:
            deviation = matrix.deviation(method, name, name, key)
            known = math.nan if deviation is None else deviation
            yield method, (statistic[0], known, float(quality.get(method, math.nan)))


def steps_table(curves: Sequence[Curve]) -> str:
    """Return curves as one Markdown table: a row per task and method, a column per number of steps."""
    numbers = sorted({steps for curve in curves for points in curve.points.values() for steps, *_ in points})
    rows = [["task", "method", *(f"{steps} steps" for steps in numbers)], ["---", "---", *["---:"] * len(numbers)]]
    for curve in curves:
        label = f"`{curve.task}` {metric_title(curve.metric)}"
        for method, points in curve.points.items():
            cells = {steps: point_as_text(curve.metric, point) for steps, *point in points}
            rows.append([label, f"`{method}`", *(cells.get(steps, "–") for steps in numbers)])
            label = ""
    return markdown(rows)


def point_as_text(metric: Metric, point: Sequence[float]) -> str:
    """Return mean, deviation and quality of a point as text: `90.12 ± 0.87 (97 %)`."""
    mean, deviation, quality = point
    spread = f" ± {format_value(metric, deviation, mean)}" if math.isfinite(deviation) else ""
    relative = f" ({100 * quality:.0f} %)" if math.isfinite(quality) else ""
    return f"{format_value(metric, mean)}{spread}{relative}"


def ablation_sections(ablations: Sequence[Ablation], sequence: TaskKinds) -> Mapping[str, Any] | None:
    """Return the content of the section on ablations in the report; None without ablations."""
    if not ablations:
        return None
    joined, others = by_method(ablations, sequence)
    tables = []
    for ablation in (*joined, *others):
        header, rows = ablation_cells(ablation, sequence)
        if not rows:
            continue
        changes = ", ".join(
            f"{setting} = {new} (preset: {old})" for setting, (new, old) in ablation.changes.items()
        )
        titles = [title.replace("`", "") for title in header]
        tables.append({"name": ablation.name, "changes": changes, "header": titles, "rows": rows})
    return {
        "tables": tables,
        "reference": REFERENCE,
        "curves": curves(ablations, sequence),
        "figures": joined_figures(joined, sequence),
    }
