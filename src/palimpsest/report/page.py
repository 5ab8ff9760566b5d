"""Report of a preset: one self-contained HTML page, computed only from the files of its results.

    write_page(Path("results/mini/report.html"), results=Path("results/mini"), data=Path("data/mini"), …)

`answer` writes the sentences at the top, `pictures` makes the gallery and the section on data, `series` the figures
of losses and masks, `stored` the tables of sizes and masks, `tradeoff` the forgetting summary, and `sweep` the
sweeps. The same files give the same page, byte for byte.

Functions that return a `Context` return values for the template `templates/page.html.j2`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from palimpsest.analysis.conditions import describe_conditions, load_json
from palimpsest.analysis.tables import worst
from palimpsest.analysis.transfer import tasks_without_scale
from palimpsest.errors import DataError
from palimpsest.layout import making_command
from palimpsest.methods import METHODS, by_required_network
from palimpsest.metrics.described import (
    ARROWS,
    badness,
    describe,
    forgetting_metrics,
    format_value,
    headlines,
    kind_measured_by,
)
from palimpsest.metrics.metric import METRICS, Metric
from palimpsest.report import study
from palimpsest.report.ablation import ablation_sections, load_ablations
from palimpsest.report.answer import answer
from palimpsest.report.chart import quality_chart
from palimpsest.report.explained import answer_charts
from palimpsest.report.pictures import data_of, gallery
from palimpsest.report.series import curve_chart, learning_charts, zero_charts
from palimpsest.report.stored import diagnostics_table, similarity_triangles, size_table
from palimpsest.report.summary import Matrix, matrix_of_tables
from palimpsest.report.sweep import load_sweep, sweep_sections
from palimpsest.report.tradeoff import COLUMN_FORMATS, summary_table
from palimpsest.settings import FLOOR
from palimpsest.storage.atomic import write_text

MAX_METHOD_COLUMNS = 6
"""Number of methods above which tables have one row per method; the study has six methods."""

Context = dict[str, Any]
"""Values for the template of the page, by name."""


@dataclass(frozen=True)
class Origin:
    """Preset, code and settings of the results. Empty strings appear on the page as "not recorded"."""

    preset: str
    commit: str = ""
    """Git commit of the code."""
    digest: str = ""
    """Digest of the settings."""
    command: str = ""
    """Command that makes the results again."""


def write_page(
    destination: Path,
    *,
    results: Path,
    data: Path,
    sequence: Sequence[tuple[str, str]],
    methods: Sequence[str],
    origin: Origin,
    sweeps: Sequence[Path] = (),
    incomparable: Mapping[str, str] | None = None,
) -> None:
    """Write the report of one preset to `destination`.

    results: the folder `results/<preset>`. data: the folder `data/<preset>`. sequence: (task, kind) in the order of
    learning. methods: in the order of their columns. sweeps: tables that `snakemake sweep` wrote. incomparable:
    reason by method, for methods whose bytes and quality are not comparable with the others.

    Raises:
        DataError: a file is missing, unreadable or inconsistent.
    """
    write_text(destination, render(results, data, sequence, methods, origin, sweeps, incomparable))


def render(
    results: Path,
    data: Path,
    sequence: Sequence[tuple[str, str]],
    methods: Sequence[str],
    origin: Origin,
    sweeps: Sequence[Path] = (),
    incomparable: Mapping[str, str] | None = None,
) -> str:
    """Return the HTML of the page; parameters and errors are those of `write_page`."""
    metrics = _read_table(results / "metrics.csv")
    matrix = matrix_of_tables(metrics, sequence, _read_table(results / "verification.csv"))
    learned = [name for name in methods if name != FLOOR]
    forgetting = [_forgetting(matrix, name) for name in learned if _measured(matrix, name)]
    samples = {seed: results / "evaluation" / f"seed-{seed}" for seed in matrix.seeds}
    of_methods, quality = _read_table(results / "forgetting.csv"), _read_table(results / "quality.csv")
    outcomes = {block["method"]: block["outcome"] for block in forgetting}
    ablating = ablation_sections(load_ablations(results), sequence)
    summary = summary_table(of_methods, learned, incomparable, ablating["figures"] if ablating else None)
    sweeping = sweep_sections([load_sweep(path) for path in sweeps], sequence)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        origin=origin,
        answer=answer(of_methods, quality, matrix.sequence, learned, outcomes),
        gallery=gallery(samples, matrix, learned),
        learning=learning_charts(_read_table(results / "analysis" / "losses.csv"), matrix, learned),
        seeds=matrix.seeds,
        sequence=matrix.sequence,
        methods=learned,
        absent=[name for name in learned if not any(key[0] == name for key in matrix.values)],
        late=_late(matrix, learned),
        results=_results(matrix, learned),
        classes=_classes(matrix, learned),
        study=_study(),
        forgetting=forgetting,
        verification=_methods_by_outcome(forgetting),
        summary=summary,
        conditions=describe_conditions(load_json(results / "conditions.json")),
        without_scale=tasks_without_scale(quality),
        quality=quality_chart(summary["positions"], summary["spread"], summary["front"])
        if summary["positions"]
        else None,
        diagnostics=diagnostics_table(_read_table(results / "diagnostics.csv"), matrix, learned),
        sizes=size_table(_read_table(results / "sizes.csv"), matrix, learned),
        sweeps=sweeping,
        ablations=ablating,
        curves=[curve_chart(curve, learned) for curve in ablating["curves"]] if ablating else [],
        zeros=zero_charts(_read_table(results / "analysis" / "zeros.csv"), matrix, learned),
        explained=_explained(results / "explain" / "metrics.csv"),
        similarity=similarity_triangles(_read_table(results / "analysis" / "similarity.csv"), matrix, learned),
        data=[data_of(data / "prepared" / task / "info.json", task) for task, _ in sequence],
        glossary=_glossary(matrix),
    )


def _results(matrix: Matrix, methods: Sequence[str]) -> list[Context]:
    """Return a table per network: its methods and an entry per task.

    An entry has a row per headline metric, measured right after training, with a cell per method. The first cell
    belongs to the floor, the trivial baseline.
    """
    tables = []
    for network, group in by_required_network(methods).items():
        tasks = [
            {
                "number": number,
                "name": task,
                "kind": kind,
                "images": matrix.images.get(task),
                "rows": [
                    _row(matrix, group, task, name, describe(name, kind))
                    for name in headlines(kind, matrix.metrics(task))
                ],
            }
            for number, (task, kind) in enumerate(matrix.sequence, 1)
        ]
        as_rows = len(group) > MAX_METHOD_COLUMNS
        tables.append({"network": network, "methods": group, "tasks": tasks, "methods_as_rows": as_rows})
    return tables


def _classes(matrix: Matrix, methods: Sequence[str]) -> list[Context]:
    """Return one entry per segmentation task: a row per class with its IoU, measured right after training."""
    tasks = []
    for task, _ in matrix.sequence:
        names = [name for name in matrix.metrics(task) if name.startswith("iou/")]
        rows = [
            _row(matrix, methods, task, name, describe(name)._replace(label=name.removeprefix("iou/")))
            for name in names
        ]
        if rows:
            tasks.append({"name": task, "rows": rows})
    return tasks


def _row(matrix: Matrix, methods: Sequence[str], task: str, name: str, metric: Metric) -> Context:
    """Return a row of a table: a metric of a task right after training, for the floor and all methods.

    Methods that none on the same network beats significantly are marked as best, and all that are no better than
    the floor.
    """
    cells = [_cell(matrix, method, task, name, metric) for method in (FLOOR, *methods)]
    floor = badness(metric, cells[0]["value"]) if cells[0] is not None else None
    best = matrix.best(metric, name, methods, task)
    for method, cell in zip(methods, cells[1:], strict=True):
        if cell is not None:
            cell["best"] = method in best
            score = badness(metric, cell["value"])
            cell["no_better_than_floor"] = floor is not None and score is not None and score >= floor
    return {"label": metric.label, "unit": metric.unit, "arrow": ARROWS[metric.better], "cells": cells}


def _cell(matrix: Matrix, method: str, task: str, name: str, metric: Metric, *, after: str = "") -> Context | None:
    """Return a cell of a table: mean and deviation over seeds and pictures, formatted; None if not measured.

    after: task after whose training the value was measured; empty for the first measurement.
    """
    afters = matrix.afters(method, task)
    if not afters or (after and after not in afters):
        return None
    after = after or afters[0]
    statistic = matrix.statistic(method, task, after, name)
    if statistic is None:
        return None
    mean, deviation = statistic[0], matrix.deviation(method, task, after, name)
    seeds = len(matrix.values[method, task, after, name])
    return {
        "value": mean,
        "text": format_value(metric, mean),
        "std": format_value(metric, deviation, mean) if deviation is not None else "",
        "note": f"{seeds} of {len(matrix.seeds)} seeds" if seeds < len(matrix.seeds) else "",
        "best": False,
        "no_better_than_floor": False,
    }


def _late(matrix: Matrix, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Return (method, last task) for each method that was measured only after the last task, as `joint`."""
    last = matrix.sequence[-1][0]
    measured_after = {name: {tuple(matrix.afters(name, task)) for task, _ in matrix.sequence} for name in methods}
    return [
        (name, last)
        for name, afters in measured_after.items()
        if afters - {()} == {(last,)} and len(matrix.sequence) > 1
    ]


def _measured(matrix: Matrix, method: str) -> bool:
    """Return whether the method was measured on any task."""
    return any(matrix.afters(method, task) for task, _ in matrix.sequence)


def _forgetting(matrix: Matrix, method: str) -> Context:
    """Return the forgetting matrix of one method: a row per task and metric, a column per task learned last.

    `heat` of a cell is the loss of quality since training (`_loss`). `outcome` is the worst outcome of the
    comparison of its predictions with those recorded after training.
    """
    rows = []
    for task, kind in matrix.sequence:
        afters = matrix.afters(method, task)
        for name in forgetting_metrics(kind, matrix.metrics(task)):
            metric = describe(name, kind)
            cells: list[Context | None] = []
            for after, _ in matrix.sequence:
                cell = _cell(matrix, method, task, name, metric, after=after)
                learned = matrix.statistic(method, task, afters[0], name) if afters else None
                if cell is not None and learned is not None:
                    cell["learned"] = after == afters[0]
                    cell["outcome"] = matrix.outcome(method, task, after)
                    cell["heat"] = _loss(metric, learned[0], cell["value"])
                cells.append(cell)
            if any(cells):
                rows.append({"task": task, "label": metric.label, "arrow": ARROWS[metric.better], "cells": cells})
    outcomes = matrix.since_learned(method)
    return {
        "method": method,
        "rows": rows,
        "outcome": worst([outcome for outcome, number in outcomes.items() if number]),
        "can_forget": method in METHODS and METHODS[method].can_forget,
    }


def _methods_by_outcome(forgetting: Sequence[Context]) -> dict[str, list[str]]:
    """Return the names of the methods by the outcome of comparing predictions with those recorded after training.

    forgetting: the matrix of each method (`_forgetting`). `faulty` lists methods with changed predictions that
    cannot forget, `can_forget` all methods that can.
    """

    def with_outcome(outcome: str) -> list[str]:
        return [matrix["method"] for matrix in forgetting if matrix["outcome"] == outcome]

    forgetful = [matrix["method"] for matrix in forgetting if matrix["can_forget"]]
    changed = with_outcome("changed")
    return {
        "verified": with_outcome("verified"),
        "changed": changed,
        "not_comparable": with_outcome("not comparable"),
        "faulty": [method for method in changed if method not in forgetful],
        "can_forget": forgetful,
    }


def _loss(metric: Metric, learned: float, now: float) -> int:
    """Return the relative loss of quality from `learned` to `now` in per cent, within ±100; negative for a gain."""
    if learned == now:
        return 0
    change = (now - learned) / abs(learned) if learned else math.copysign(1, now - learned)
    return round(100 * max(-1.0, min(1.0, -change if metric.better == "higher" else change)))


def _glossary(matrix: Matrix) -> list[Context]:
    """Return one entry per metric in the tables of the page: label, unit, arrow and meaning."""
    used = {name for task, kind in matrix.sequence for name in headlines(kind, matrix.metrics(task))}
    names = [name for name in METRICS if name in used] + sorted(used - METRICS.keys())
    return [
        {
            "label": describe(name).label,
            "unit": describe(name).unit,
            "arrow": ARROWS[describe(name).better],
            "meaning": describe(name).meaning,
        }
        for name in names
    ]


def _study() -> Context:
    """Return the tables that the study printed (`palimpsest.report.study`)."""
    rows = []
    for row in (*study.RESULTS, *study.FORGETTING):
        kind = kind_measured_by(result.metric for result in study.RESULTS if result.task == row.task)
        metric = describe(row.metric, kind)
        cells = [None if value is None else format_value(metric, value) for value in row.values]
        title = f"{row.task} after {row.after}" if row.after != row.task else row.task
        rows.append({"task": title, "label": metric.label, "arrow": ARROWS[metric.better], "cells": cells})
    return {
        "source": study.SOURCE,
        "methods": study.METHODS,
        "rows": rows,
        "sizes": [f"{study.SIZE_MIB[method]:,.1f}" for method in study.METHODS],
        "losses": [(loss.name, f"{loss.miou:.2f}") for loss in study.RESBLOCK_SEGMENTATION],
    }


def _explained(path: Path) -> list[Any]:
    """Return the answers of the experiments on masks for the template; empty without their table."""
    if not path.exists():
        return []
    return answer_charts(_read_table(path))


def _read_table(path: Path) -> pd.DataFrame:
    """Return a table of results from a CSV file; names stay text even if they look like numbers.

    Raises:
        DataError: the file is missing or no table.
    """
    if not path.is_file():
        raise DataError(f"{path}: is missing; `{making_command(path)}` makes it")
    names = ["method", "task", "after", "metric", "checksum", "outcome", "reason", "component", "needed_to"]
    names += ["layer", "other", "name"]
    numbers = [
        "value",
        "zeros",
        "similarity",
        "independent",
        *COLUMN_FORMATS,
        "std_error",
        *("learned", "final", "error", "excess"),
        "final_quality_error",
        *(f"{name}_std" for name in COLUMN_FORMATS),
    ]
    kinds: dict[str, type] = {**dict.fromkeys(names, str), **dict.fromkeys(numbers, float)}
    empty = {number: ["", "nan", "NaN"] for number in numbers}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty)
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path}: not a readable table ({error}); delete it and run `{making_command(path)}`"
        ) from error
