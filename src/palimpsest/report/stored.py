"""Report sections on stored tasks: sizes, diagnostics and similarity of masks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from palimpsest.analysis.accounting import MIB, UNCOUNTED, bytes_needed
from palimpsest.report import study
from palimpsest.report.summary import Matrix
from palimpsest.settings import REFERENCE

Context = dict[str, Any]
"""Values for the template of the page, by name."""

DIAGNOSTICS = {
    "free": ("weights that no task owns yet", "%", 100.0),
    "code/bits_per_weight": ("code of the integers", "bits per weight", 1.0),
    "code/entropy_per_weight": ("entropy of the integers", "bits per weight", 1.0),
}
"""Label, unit and factor of diagnostics in the report; diagnostics that are not here appear under their names."""


def size_table(sizes: pd.DataFrame, matrix: Matrix, methods: Sequence[str]) -> Context:
    """Return a table with a row per method: size of each task's file, of each component, and of the weights alone.

    sizes: the table of `sizes.csv`. Methods without rows in it are left out.
    """
    run = sizes[sizes["needed_to"] == "run"]
    components = list(dict.fromkeys(run["component"]))
    reference = bytes_needed(sizes, "run", REFERENCE, weights_only=True)
    rows = []
    for method in methods:
        selected = run[run["method"] == method]
        weights = bytes_needed(sizes, "run", method, weights_only=True)
        if math.isnan(weights):
            continue
        seeds = selected["seed"].nunique()
        learn = bytes_needed(sizes, "learn", method)
        rows.append(
            {
                "method": method,
                "files": [_kib(selected[selected["task"] == task]["bytes"], seeds) for task, _ in matrix.sequence],
                "components": [
                    _kib(selected[selected["component"] == name]["bytes"], seeds) for name in components
                ],
                "run": f"{bytes_needed(sizes, 'run', method) / MIB:,.2f}",
                "learn": f"{learn / MIB:,.2f}" if learn else "",
                "weights": f"{weights / MIB:,.2f}",
                "share": "" if math.isnan(reference) else f"{100 * weights / reference:.0f}",
                "study": f"{study.SIZE_MIB[method]:,.1f}" if method in study.SIZE_MIB else "",
                "study_share": f"{100 * study.SIZE_MIB[method] / study.SIZE_MIB[REFERENCE]:.0f}"
                if method in study.SIZE_MIB
                else "",
            }
        )
    return {"components": components, "uncounted": UNCOUNTED, "rows": rows}


def _kib(column: "pd.Series[int]", seeds: int) -> str:
    """Return the sum of a column of bytes in KiB as text, mean over seeds; empty for an empty column."""
    return f"{column.sum() / seeds / 1024:,.1f}" if len(column) else ""


def diagnostics_table(diagnostics: pd.DataFrame, matrix: Matrix, methods: Sequence[str]) -> list[Context]:
    """Return one row per method and diagnostic, with its mean over the seeds after each task.

    diagnostics: the table of `diagnostics.csv`.
    """
    rows = []
    for method in methods:
        selected = diagnostics[diagnostics["method"] == method]
        for name in dict.fromkeys(selected["name"]):
            label, unit, scale = DIAGNOSTICS.get(name, (name, "", 1.0))
            values = selected[selected["name"] == name].groupby("task")["value"]
            means, deviations = values.mean(), values.std()
            cells = [
                {
                    "text": f"{scale * means[task]:,.4g}",
                    "std": "" if math.isnan(deviations[task]) else f"{scale * deviations[task]:,.2g}",
                }
                if task in means.index
                else None
                for task, _ in matrix.sequence
            ]
            rows.append({"method": method, "label": label, "unit": unit, "cells": cells})
    return rows


def similarity_triangles(similarity: pd.DataFrame, matrix: Matrix, methods: Sequence[str]) -> list[Context]:
    """Return one table per method with masks, and one of the study: similarity of the masks of each two tasks.

    similarity: the table of `similarity.csv`, with the similarity expected of independent masks.
    """
    names = _tasks(matrix, [*similarity["task"], *similarity["other"]])
    triangles = []
    for method in methods:
        pairs: dict[tuple[str, str], tuple[float, float | None]] = {}
        selected = similarity[similarity["method"] == method]
        for pair, rows in selected.groupby(["task", "other"]):
            earlier, later = sorted((str(name) for name in pair), key=names.index)
            pairs[later, earlier] = (float(rows["similarity"].mean()), float(rows["independent"].mean()))
        if pairs:
            triangles.append(_triangle(method, names, pairs))
    study_pairs = {pair: (value, None) for pair, value in study.MASK_SIMILARITY.items()}
    order = list(dict.fromkeys(name for pair in study_pairs for name in reversed(pair)))
    return [*triangles, _triangle("the study", order, study_pairs)]


def _tasks(matrix: Matrix, named: Iterable[str]) -> list[str]:
    """Return the tasks of the sequence in the order of learning, then the names in `named` that it lacks."""
    return list(dict.fromkeys([*(task for task, _ in matrix.sequence), *named]))


def _triangle(
    title: str, order: Sequence[str], pairs: Mapping[tuple[str, str], tuple[float, float | None]]
) -> Context:
    """Return a table with a row per later task and a column per earlier task.

    order: the tasks in the order of learning. pairs: (later, earlier) task → similarity of their masks, and the
    similarity of independent masks or None. `points` of a cell is the difference of both in percentage points.
    """
    columns = [name for name in order if any(earlier == name for _, earlier in pairs)]
    rows = []
    for later in order:
        cells: list[Context | None] = []
        for earlier in columns:
            value, chance = pairs.get((later, earlier), (math.nan, None))
            if math.isnan(value):
                cells.append(None)
                continue
            points = 100 * (value - chance) if chance is not None and not math.isnan(chance) else None
            cells.append(
                {
                    "text": f"{value:.4f}",
                    "chance": f"{chance:.4f}" if points is not None else "",
                    "points": f"{points:+.1f}".replace("-", "−") if points is not None else "",
                    "strong": points is not None and abs(points) >= 1,
                }
            )
        if any(cells):
            rows.append({"task": later, "cells": cells})
    return {"title": title, "columns": columns, "rows": rows}
