"""Sweeps in the report: tables, and training losses compared with the study.

A sweep trains variants of one method; a variant changes settings of the preset. `snakemake sweep` writes the files
of a sweep, measured on the split `dev`, and the report includes those that exist.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.errors import DataError
from palimpsest.layout import making_command
from palimpsest.metrics.described import describe, format_value, in_short, metric_title
from palimpsest.report import study
from palimpsest.report.readme import markdown
from palimpsest.report.tradeoff import format_number
from palimpsest.tasks import KINDS

ADDED = {"zeros": ("zeros (%)", 100.0, 0), "bytes": ("KiB a task", 1 / 1024, 1)}
"""Figures of added tasks, by name in the measurements: title in a table, factor and decimals."""

QUALITY = "quality"
"""Metric of the final quality in the measurements, mean over all tasks; its rows name the last of them."""

LOSS = re.compile(r"tasks\.[^.]+\.loss")
"""Pattern of the settings that choose a task's training loss."""

Context = dict[str, Any]
"""Values for the template of the page, by name."""


class Sweep(NamedTuple):
    """Measurements and settings of the variants of one method."""

    method: str
    measured: pd.DataFrame
    """Columns variant (empty for the preset's settings), seed, method, task, after, metric and value."""
    settings: pd.DataFrame
    """Columns variant (empty for the values in the preset), setting and set_to."""
    quality: pd.DataFrame
    """Columns variant, seed and value: quality on `dev` after the last of the tasks that all variants trained."""

    @property
    def variants(self) -> list[str]:
        """Names of the variants, with the empty name first."""
        return list(dict.fromkeys(self.measured["variant"]))

    def set_to(self, variant: str) -> dict[str, str]:
        """Return the values of the settings that a variant changes; for the empty name, those of the preset."""
        rows = self.settings[self.settings["variant"] == variant]
        return dict(zip(rows["setting"], rows["set_to"], strict=True))


def load_sweep(path: Path) -> Sweep:
    """Return the sweep in `<method>.csv`, the file `path`, and in `<method>-settings.csv` beside it.

    Raises:
        DataError: a file cannot be read.
    """
    measured = read_table(path, ["variant", "seed", "method", "task", "after", "metric", "value"])
    settings = read_table(path.with_stem(f"{path.stem}-settings"), ["variant", "setting", "set_to"])
    of_quality = measured["metric"] == QUALITY
    return Sweep(path.stem, measured[~of_quality], settings, measured[of_quality])


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return these columns of a CSV file; seeds are integers, values are floats, all others are text.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    kinds: dict[str, type] = {name: {"seed": int, "value": float}.get(name, str) for name in columns}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False, usecols=columns)
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path}: not a readable table ({error}); delete it and run `{making_command(path, 'sweep')}`"
        ) from error


def sweep_table(sweep: Sweep) -> str:
    """Return a Markdown table with a row per variant: means over the seeds ± their standard deviation.

    A variant that changes the training has a base network of its own, and so another figure of the first task. The
    figures in `ADDED`, such as bytes, are means over the tasks after the first.
    """
    header, lines = sweep_cells(sweep)
    titles = ["", *(f"`{task}` {label}" if task else label for task, label in header)]
    named = [[f"`{variant}`" if variant else f"**{sweep.method}**", *cells] for variant, cells in lines]
    return markdown([titles, ["---", *["---:"] * len(header)], *named])


def sweep_cells(sweep: Sweep) -> tuple[list[tuple[str, str]], list[tuple[str, list[str]]]]:
    """Return (task, title) of each column, and (variant, cells) of each row, as text.

    The columns are quality, metrics of each task right after training, the same after the last task if any variant
    forgets the task, and figures of added tasks (`ADDED`); quality and figures have an empty task. Bytes are left
    out if all variants are equal. All but the metrics right after training are of the tasks that all variants
    trained.
    """
    learned, final = rows_learned(sweep), rows_after_last_task(sweep)
    named = learned.groupby("task", sort=False)["metric"]
    columns = [(str(task), name) for task, names in named for name in in_short(names)]
    key = ["variant", "seed", "task", "metric"]
    pairs = learned.merge(final, on=key, suffixes=("", "_final"))
    changed = set(pairs.loc[pairs["value"] != pairs["value_final"], "task"])
    forgotten = [(task, metric) for task, metric in dict(columns).items() if task in changed]
    with_quality = not sweep.quality.empty
    header = [("", "quality (%)")] if with_quality else []
    header += [(task, metric_title(describe(metric))) for task, metric in columns]
    header += [(task, f"{metric_title(describe(metric))} in the end") for task, metric in forgotten]
    lines = []
    for variant in sweep.variants:
        cells = [
            mean_as_text(
                rows[(rows["variant"] == variant) & (rows["task"] == task) & (rows["metric"] == metric)], metric
            )
            for rows, cell_keys in ((learned, columns), (final, forgotten))
            for task, metric in cell_keys
        ]
        quality = [quality_as_text(sweep, variant)] if with_quality else []
        lines.append((variant, quality + cells))
    for name, (title, scale, digits) in ADDED.items():
        rows = learned[(learned["metric"] == name) & learned["task"].isin(common_tasks(sweep))]
        means = rows.groupby("variant")["value"].mean()
        texts = [format_number(scale * means.get(variant, math.nan), digits) or "–" for variant in sweep.variants]
        if len(means) and (name != "bytes" or len({*texts}) > 1):
            header.append(("", title))
            for (_, cells), text in zip(lines, texts, strict=True):
                cells.append(text)
    return header, lines


def rows_learned(sweep: Sweep) -> pd.DataFrame:
    """Return the rows of `Sweep.measured` that were measured right after the training on their task."""
    return sweep.measured[sweep.measured["task"] == sweep.measured["after"]]


def common_tasks(sweep: Sweep) -> list[str]:
    """Return the tasks that every variant trained, in the order of learning."""
    by_variant = [set(rows["after"]) for _, rows in sweep.measured.groupby("variant")]
    return [task for task in dict.fromkeys(sweep.measured["task"]) if all(task in tasks for tasks in by_variant)]


def rows_after_last_task(sweep: Sweep) -> pd.DataFrame:
    """Return the rows of `Sweep.measured` of earlier tasks, after the last task that all variants trained."""
    rows, last_task = sweep.measured, common_tasks(sweep)[-1]
    return rows[(rows["after"] == last_task) & (rows["task"] != last_task)]


def mean_as_text(values: pd.DataFrame, name: str) -> str:
    """Return the mean of a metric over the seeds as text, with ± its standard deviation; a dash for no values.

    values: rows with the column `value`, one per seed. name: name of the metric.
    """
    if values.empty:
        return "–"
    metric, column = describe(name), values["value"]
    mean = float(column.mean())
    spread = f" ± {format_value(metric, float(column.std()), mean)}" if len(column) > 1 else ""
    return format_value(metric, mean) + spread


def quality_as_text(sweep: Sweep, variant: str) -> str:
    """Return the mean quality of a variant over the seeds in per cent, with ± its standard deviation, or a dash."""
    column = 100 * sweep.quality.loc[sweep.quality["variant"] == variant, "value"]
    spread = f" ± {format_number(float(column.std()), 1)}" if len(column) > 1 else ""
    return format_number(float(column.mean()), 1) + spread or "–"


def sweep_sections(sweeps: Sequence[Sweep], sequence: Sequence[tuple[str, str]]) -> Context | None:
    """Return the content of the section on sweeps in the report; None without sweeps.

    sequence: (task, kind) in the order of learning.

    `tables` has a table per method. `losses` has the mIoU of residual blocks by training loss, for `tasks`, the
    tasks of segmentation, and for the study.
    """
    if not sweeps:
        return None
    segmentations = [task for task, kind in sequence if kind in KINDS and KINDS[kind].key_metric == "miou"]
    return {
        "tables": [table_context(sweep) for sweep in sweeps],
        "tasks": segmentations,
        "losses": losses_table(sweeps, segmentations),
    }


def table_context(sweep: Sweep) -> Context:
    """Return the table of a sweep for the template: a row per variant, with the settings that it changes."""
    header, lines = sweep_cells(sweep)
    rows = []
    for variant, cells in lines:
        changes = [f"{setting} = {value}" for setting, value in sweep.set_to(variant).items()] if variant else []
        rows.append({"variant": variant or "current settings", "changes": ", ".join(changes), "cells": cells})
    return {"method": sweep.method, "header": header, "rows": rows}


def losses_table(sweeps: Sequence[Sweep], tasks: Sequence[str]) -> list[Context]:
    """Return the rows of a table: mIoU of residual blocks by training loss, for the study and for each of `tasks`.

    The list is empty if no sweep has such a variant.
    """
    measured = {
        (sweep.method, loss): {task: miou_as_text(sweep, variant, task) for task in tasks}
        for sweep in sweeps
        for variant, loss in variants_by_loss(sweep)
    }
    rows = []
    for name, method, loss, miou in study.RESBLOCK_SEGMENTATION:
        by_task = measured.get((method, loss), {})
        cells = [by_task.get(task, "–") for task in tasks]
        rows.append({"loss": name, "method": method, "study": f"{miou:.2f}", "cells": cells})
    return rows if any(set(row["cells"]) - {"–"} for row in rows) else []


def variants_by_loss(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Yield (variant, loss) for each variant that sets the training loss of tasks, to one loss."""
    for variant in sweep.variants:
        values = {value for setting, value in sweep.set_to(variant).items() if LOSS.fullmatch(setting)}
        if len(values) == 1:
            yield variant, values.pop()


def miou_as_text(sweep: Sweep, variant: str, task: str) -> str:
    """Return the mIoU of a task under a variant right after training, as text; a dash if it was not measured."""
    rows = sweep.measured
    of_task = rows[(rows["variant"] == variant) & (rows["task"] == task) & (rows["after"] == task)]
    return mean_as_text(of_task[of_task["metric"] == "miou"], "miou")
