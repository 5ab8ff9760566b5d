"""Sweeps in the report: tables, transfer of methods that forget, and training losses compared with the study.

The files come from `snakemake sweep`; the report includes existing ones.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.analysis.transfer import mean_over_seeds, quality_figures
from palimpsest.errors import DataError
from palimpsest.metrics.described import describe, in_short, titled, written
from palimpsest.report import study
from palimpsest.report.readme import markdown
from palimpsest.report.tradeoff import number
from palimpsest.tasks import KINDS

ADDED = {"zeros": ("zeros (%)", 100.0, 0), "bytes": ("KiB a task", 1 / 1024, 1)}
"""Figures of added tasks: title in a table, factor and decimals."""

LOSS = re.compile(r"tasks\.[^.]+\.loss")
"""Pattern of the settings that choose a task's training loss."""

Context = dict[str, Any]


class Sweep(NamedTuple):
    """Variants of one method."""

    method: str
    measured: pd.DataFrame
    """variant (empty: the preset's settings), seed, method, task, after, metric, value."""
    settings: pd.DataFrame
    """variant, setting, set_to."""

    @property
    def variants(self) -> list[str]:
        """Names of the variants, with the empty name first."""
        return list(dict.fromkeys(self.measured["variant"]))

    def set_to(self, variant: str) -> dict[str, str]:
        """Return the settings that a variant changes; for the empty name, their values in the preset."""
        rows = self.settings[self.settings["variant"] == variant]
        return dict(zip(rows["setting"], rows["set_to"], strict=True))


def load_sweep(path: Path) -> Sweep:
    """Read the measurements and settings of one method's variants from their two files.

    Raises:
        DataError: a file cannot be read.
    """
    measured = read(path, ["variant", "seed", "method", "task", "after", "metric", "value"])
    settings = read(path.with_stem(f"{path.stem}-settings"), ["variant", "setting", "set_to"])
    return Sweep(path.stem, measured, settings)


def read(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return a table with these columns; all are text except seeds and values."""
    kinds: dict[str, type] = {name: {"seed": int, "value": float}.get(name, str) for name in columns}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False, usecols=columns)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable table ({error}); delete it and run `snakemake sweep`") from error


def sweep_table(sweep: Sweep) -> str:
    """Return a Markdown table with a row per variant: means over the seeds ± their standard deviation.

    The base task's figure shows which base network a variant uses, because a variant that changes the training has
    its own. Figures of added tasks (`ADDED`) are means over tasks.
    """
    header, lines = sweep_cells(sweep)
    titles = ["", *(f"`{task}` {label}" if task else label for task, label in header)]
    named = [[f"`{variant}`" if variant else f"**{sweep.method}**", *cells] for variant, cells in lines]
    return markdown([titles, ["---", *["---:"] * len(header)], *named])


def sweep_cells(sweep: Sweep) -> tuple[list[tuple[str, str]], list[tuple[str, list[str]]]]:
    """Return task and title of each column, and variant and cells of each row.

    The columns are each task right after training, tasks that any variant forgets after the last task, and figures
    of added tasks, with bytes only if variants differ.
    """
    learned, final = rows_learned(sweep), rows_in_the_end(sweep)
    named = learned.groupby("task", sort=False)["metric"]
    columns = [(str(task), name) for task, names in named for name in in_short(names)]
    key = ["variant", "seed", "task", "metric"]
    pairs = learned.merge(final, on=key, suffixes=("", "_final"))
    changed = set(pairs.loc[pairs["value"] != pairs["value_final"], "task"])
    forgotten = [(task, metric) for task, metric in dict(columns).items() if task in changed]
    header = [(task, titled(describe(metric))) for task, metric in columns]
    header += [(task, f"{titled(describe(metric))} in the end") for task, metric in forgotten]
    lines = []
    for variant in sweep.variants:
        cells = [
            cell(rows[(rows["variant"] == variant) & (rows["task"] == task) & (rows["metric"] == metric)], metric)
            for rows, cell_keys in ((learned, columns), (final, forgotten))
            for task, metric in cell_keys
        ]
        lines.append((variant, cells))
    for name, (title, scale, digits) in ADDED.items():
        means = learned[learned["metric"] == name].groupby("variant")["value"].mean()
        texts = [number(scale * means.get(variant, math.nan), digits) or "–" for variant in sweep.variants]
        if len(means) and (name != "bytes" or len({*texts}) > 1):
            header.append(("", title))
            for (_, cells), text in zip(lines, texts, strict=True):
                cells.append(text)
    return header, lines


def rows_learned(sweep: Sweep) -> pd.DataFrame:
    """Return the measurements of each task right after training."""
    return sweep.measured[sweep.measured["task"] == sweep.measured["after"]]


def rows_in_the_end(sweep: Sweep) -> pd.DataFrame:
    """Return the measurements of earlier tasks after the last task."""
    rows = sweep.measured
    last_task = rows.groupby("variant")["after"].transform("last")
    return rows[(rows["after"] == last_task) & (rows["task"] != last_task)]


def cell(values: pd.DataFrame, name: str) -> str:
    """Return the mean over the seeds, ± their standard deviation for several seeds; a dash for no values."""
    if values.empty:
        return "–"
    metric, column = describe(name), values["value"]
    mean = float(column.mean())
    spread = f" ± {written(metric, float(column.std()), mean)}" if len(column) > 1 else ""
    return written(metric, mean) + spread


def sweep_sections(
    sweeps: Sequence[Sweep], metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]
) -> Context | None:
    """Return the content of the report's section on sweeps; None without sweeps.

    `tables` has a table per method. `transfers` has forward and backward transfer of the variants and methods that
    forget, and `connected` the names on each line. `losses` has the mIoU of residual blocks by training loss, for
    `tasks` and the study.
    """
    if not sweeps:
        return None
    transfers, connected = transfers_of(sweeps, metrics, sequence)
    segmentations = [task for task, kind in sequence if kind in KINDS and KINDS[kind].key_metric == "miou"]
    return {
        "tables": [table(sweep) for sweep in sweeps],
        "transfers": transfers,
        "connected": connected,
        "tasks": segmentations,
        "losses": losses(sweeps, segmentations),
    }


def table(sweep: Sweep) -> Context:
    """Return the table of one method, with the settings that each variant changes."""
    header, lines = sweep_cells(sweep)
    rows = []
    for variant, cells in lines:
        changes = [f"{setting} = {value}" for setting, value in sweep.set_to(variant).items()] if variant else []
        rows.append({"variant": variant or "current settings", "changes": ", ".join(changes), "cells": cells})
    return {"method": sweep.method, "header": header, "rows": rows}


Transfer = tuple[float, float]
"""Forward and backward transfer, as defined in `palimpsest.analysis.transfer`."""


def transfers_of(
    sweeps: Sequence[Sweep], metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]
) -> tuple[dict[str, Transfer], list[list[str]]]:
    """Return the transfer of each variant and method that forgets, and the names on each line of the figure.

    A line connects a method with at least two of its variants that change only the same number.
    """
    connected = [line for sweep in sweeps for line in series(sweep)]
    swept = [sweep.measured for sweep in sweeps]
    swept_methods = {sweep.method for sweep in sweeps}
    unswept = metrics[~metrics["method"].isin(swept_methods)].assign(variant="")
    rows = pd.concat([unswept, *swept])
    rows = rows.assign(method=rows["variant"].where(rows["variant"] != "", rows["method"]))
    transfers = {}
    for method, of_seeds in quality_figures(rows, sequence).items():
        mean = mean_over_seeds([*of_seeds.values()])
        transfers[method] = (mean["forward_transfer"], mean["backward_transfer"])
    forgetful = {
        name: (forward, backward)
        for name, (forward, backward) in transfers.items()
        if math.isfinite(forward) and math.isfinite(backward) and backward
    }
    lines = [[name for name in line if name in forgetful] for line in connected]
    return forgetful, [line for line in lines if len(line) > 1]


def series(sweep: Sweep) -> list[list[str]]:
    """Return the names of variants and method by value, for each number that at least two variants change alone."""
    by_setting: dict[str, list[tuple[float, str]]] = {}
    for variant in sweep.variants:
        changes = sweep.set_to(variant)
        for setting, value in changes.items() if len(changes) == 1 or not variant else ():
            if is_number(value):
                by_setting.setdefault(setting, []).append((float(value), variant or sweep.method))
    return [[name for _, name in sorted(line)] for line in by_setting.values() if len(line) > 2]


def is_number(text: str) -> bool:
    """Return whether the text is a number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def losses(sweeps: Sequence[Sweep], tasks: Sequence[str]) -> list[Context]:
    """Return the mIoU of residual blocks by training loss, for the study and each task of this run.

    The list is empty if no such loss was swept.
    """
    measured = {
        (sweep.method, loss): {task: segmented(sweep, variant, task) for task in tasks}
        for sweep in sweeps
        for variant, loss in losses_of(sweep)
    }
    rows = []
    for name, method, loss, miou in study.RESBLOCK_SEGMENTATION:
        by_task = measured.get((method, loss), {})
        cells = [by_task.get(task, "–") for task in tasks]
        rows.append({"loss": name, "method": method, "study": f"{miou:.2f}", "cells": cells})
    return rows if any(set(row["cells"]) - {"–"} for row in rows) else []


def losses_of(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Yield the variants that set one loss for tasks, with this loss."""
    for variant in sweep.variants:
        values = {value for setting, value in sweep.set_to(variant).items() if LOSS.fullmatch(setting)}
        if len(values) == 1:
            yield variant, values.pop()


def segmented(sweep: Sweep, variant: str, task: str) -> str:
    """Return the mIoU of a task right after training."""
    rows = sweep.measured
    of_task = rows[(rows["variant"] == variant) & (rows["task"] == task) & (rows["after"] == task)]
    return cell(of_task[of_task["metric"] == "miou"], "miou")
