"""Sweeps in the report: their tables, the trade-off of methods that forget, and losses beside the study's.

The files come from `snakemake sweep`; a report shows those that are there.
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
"""Figures of the tasks that a method adds: label in a table, factor and decimals."""

LOSS = re.compile(r"tasks\.[^.]+\.loss")
"""A setting that says by which loss a task is learned."""

Context = dict[str, Any]


class Sweep(NamedTuple):
    """The variants of one method."""

    method: str
    measured: pd.DataFrame
    """variant (empty: the method as it is set), seed, method, task, after, metric, value."""
    settings: pd.DataFrame
    """variant, setting, set_to."""

    @property
    def variants(self) -> list[str]:
        """Their names, with the empty one in front."""
        return list(dict.fromkeys(self.measured["variant"]))

    def set_to(self, variant: str) -> dict[str, str]:
        """Return the settings that a variant changes; for the empty name, their values in the preset."""
        own = self.settings[self.settings["variant"] == variant]
        return dict(zip(own["setting"], own["set_to"], strict=True))


def load_sweep(path: Path) -> Sweep:
    """Read the measurements of one method's variants from both of its files.

    Raises:
        DataError: one cannot be read.
    """
    measured = read(path, ["variant", "seed", "method", "task", "after", "metric", "value"])
    settings = read(path.with_stem(f"{path.stem}-settings"), ["variant", "setting", "set_to"])
    return Sweep(path.stem, measured, settings)


def read(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return a table with these columns, of text but for seeds and values."""
    kinds: dict[str, type] = {name: {"seed": int, "value": float}.get(name, str) for name in columns}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False, usecols=columns)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable table ({error})") from error


def sweep_table(sweep: Sweep) -> str:
    """Markdown: a line per variant, means over the seeds ± their standard deviation.

    The base task's figure says which base network a line stands on: a variant that changes the training has its
    own. What tasks add (`ADDED`) is a mean over them.
    """
    header, lines = sweep_cells(sweep)
    titles = ["", *(f"`{task}` {label}" if task else label for task, label in header)]
    named = [[f"`{variant}`" if variant else f"**{sweep.method}**", *cells] for variant, cells in lines]
    return markdown([titles, ["---", *["---:"] * len(header)], *named])


def sweep_cells(sweep: Sweep) -> tuple[list[tuple[str, str]], list[tuple[str, list[str]]]]:
    """Task and metric of each column, and variant and cells of each line.

    Each task right after it was learned; behind them, of tasks that any variant forgets, after the last task; and
    what tasks add, of bytes only where variants differ.
    """
    learned, final = rows_learned(sweep), rows_in_the_end(sweep)
    named = learned.groupby("task", sort=False)["metric"]
    columns = [(str(task), name) for task, names in named for name in in_short(names)]
    key = ["variant", "seed", "task", "metric"]
    both = learned.merge(final, on=key, suffixes=("", "_final"))
    moved = set(both.loc[both["value"] != both["value_final"], "task"])
    forgotten = [(task, metric) for task, metric in dict(columns).items() if task in moved]
    header = [(task, titled(describe(metric))) for task, metric in columns]
    header += [(task, f"{titled(describe(metric))} in the end") for task, metric in forgotten]
    lines = []
    for variant in sweep.variants:
        cells = [
            cell(rows[(rows["variant"] == variant) & (rows["task"] == task) & (rows["metric"] == metric)], metric)
            for rows, chosen in ((learned, columns), (final, forgotten))
            for task, metric in chosen
        ]
        lines.append((variant, cells))
    for name, (title, scale, digits) in ADDED.items():
        means = learned[learned["metric"] == name].groupby("variant")["value"].mean()
        shown = [number(scale * means.get(variant, math.nan), digits) or "–" for variant in sweep.variants]
        if len(means) and (name != "bytes" or len({*shown}) > 1):
            header.append(("", title))
            for (_, cells), text in zip(lines, shown, strict=True):
                cells.append(text)
    return header, lines


def rows_learned(sweep: Sweep) -> pd.DataFrame:
    """Return the measurements of each task right after it was learned."""
    return sweep.measured[sweep.measured["task"] == sweep.measured["after"]]


def rows_in_the_end(sweep: Sweep) -> pd.DataFrame:
    """Return the measurements of each task after the last one learned; none if there is only one task."""
    rows = sweep.measured
    last = rows.groupby("variant")["after"].transform("last")
    return rows[(rows["after"] == last) & (rows["task"] != last)]


def cell(values: pd.DataFrame, name: str) -> str:
    """Mean of the seeds, and ± their standard deviation where there are several; a dash where nothing is."""
    if values.empty:
        return "–"
    metric, found = describe(name), values["value"]
    mean = float(found.mean())
    beside = f" ± {written(metric, float(found.std()), mean)}" if len(found) > 1 else ""
    return written(metric, mean) + beside


def sweep_sections(
    sweeps: Sequence[Sweep], metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]
) -> Context | None:
    """Return the content of the report's section on sweeps; None where there are none.

    `tables` has one for each method. `places` has the forward and backward transfer of the variants and methods
    that forget, and `joined` the names that a line joins. `losses` has those of residual blocks beside the study's,
    as mIoU by `tasks`.
    """
    if not sweeps:
        return None
    places, joined = kept_and_learned(sweeps, metrics, sequence)
    segmentations = [task for task, kind in sequence if kind in KINDS and KINDS[kind].key_metric == "miou"]
    return {
        "tables": [table(sweep) for sweep in sweeps],
        "places": places,
        "joined": joined,
        "tasks": segmentations,
        "losses": losses(sweeps, segmentations),
    }


def table(sweep: Sweep) -> Context:
    """Return the table of one method, with what each variant changes."""
    header, lines = sweep_cells(sweep)
    rows = []
    for variant, cells in lines:
        changes = [f"{setting} = {value}" for setting, value in sweep.set_to(variant).items()] if variant else []
        rows.append({"variant": variant or "as it is set", "changes": ", ".join(changes), "cells": cells})
    return {"method": sweep.method, "header": header, "rows": rows}


Transfer = tuple[float, float]
"""Forward and backward transfer, as `analysis.transfer` defines them."""


def kept_and_learned(
    sweeps: Sequence[Sweep], metrics: pd.DataFrame, sequence: Sequence[tuple[str, str]]
) -> tuple[dict[str, Transfer], list[list[str]]]:
    """Forward and backward transfer of each variant and method that forgets; and which are joined by a line.

    Joined are at least two variants of a method that change one and the same number, with the method as it is set.
    """
    joined = [line for sweep in sweeps for line in series(sweep)]
    swept = [sweep.measured for sweep in sweeps]
    known = {sweep.method for sweep in sweeps}
    rest = metrics[~metrics["method"].isin(known)].assign(variant="")
    rows = pd.concat([rest, *swept])
    rows = rows.assign(method=rows["variant"].where(rows["variant"] != "", rows["method"]))
    transfers = {}
    for method, of_seeds in quality_figures(rows, sequence).items():
        mean = mean_over_seeds([*of_seeds.values()])
        transfers[method] = (mean["forward_transfer"], mean["backward_transfer"])
    forgetful = {
        name: (learned, kept)
        for name, (learned, kept) in transfers.items()
        if math.isfinite(learned) and math.isfinite(kept) and kept
    }
    lines = [[name for name in line if name in forgetful] for line in joined]
    return forgetful, [line for line in lines if len(line) > 1]


def series(sweep: Sweep) -> list[list[str]]:
    """Return variants and method by setting, ordered by value, for numbers that two variants change alone."""
    found: dict[str, list[tuple[float, str]]] = {}
    for variant in sweep.variants:
        changes = sweep.set_to(variant)
        for setting, value in changes.items() if len(changes) == 1 or not variant else ():
            if is_number(value):
                found.setdefault(setting, []).append((float(value), variant or sweep.method))
    return [[name for _, name in sorted(line)] for line in found.values() if len(line) > 2]


def is_number(text: str) -> bool:
    """Return whether the text is a number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def losses(sweeps: Sequence[Sweep], tasks: Sequence[str]) -> list[Context]:
    """Return the mIoU of residual blocks by the loss that trained them, the study's beside ours of each task.

    Nothing where none of these losses was swept.
    """
    found = {
        (sweep.method, loss): {task: segmented(sweep, variant, task) for task in tasks}
        for sweep in sweeps
        for variant, loss in losses_of(sweep)
    }
    rows = []
    for name, method, loss, miou in study.RESBLOCK_SEGMENTATION:
        own = found.get((method, loss), {})
        rows.append(
            {"loss": name, "method": method, "study": f"{miou:.2f}", "own": [own.get(task, "–") for task in tasks]}
        )
    return rows if any(set(row["own"]) - {"–"} for row in rows) else []


def losses_of(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Return the variants that set the losses of tasks, and to what."""
    for variant in sweep.variants:
        chosen = {value for setting, value in sweep.set_to(variant).items() if LOSS.fullmatch(setting)}
        if len(chosen) == 1:
            yield variant, chosen.pop()


def segmented(sweep: Sweep, variant: str, task: str) -> str:
    """Return the mIoU of a task right after it was learned."""
    rows = sweep.measured
    own = rows[(rows["variant"] == variant) & (rows["task"] == task) & (rows["after"] == task)]
    return cell(own[own["metric"] == "miou"], "miou")
