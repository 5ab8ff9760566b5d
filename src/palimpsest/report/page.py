"""The report: one self-contained HTML page of a run, computed from its files and from nothing else.

    write_page(Path("results/mini/report.html"), results=Path("results/mini"), data=Path("data/mini"), …)

What a file does not say, the page says is missing. The same files give the same page, byte for byte.
"""

import base64
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from palimpsest.analysis.accounting import MIB, UNCOUNTED, bytes_needed
from palimpsest.errors import DataError
from palimpsest.report import study
from palimpsest.report.summary import (
    METRICS,
    Matrix,
    Metric,
    badness,
    describe,
    forgetting_matrix,
    forgetting_metrics,
    headlines,
    written,
)
from palimpsest.settings import FLOOR
from palimpsest.storage.atomic import write_text

ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1", "": ""}
EMBEDDED_BYTES = 40_000  # a picture file above this is embedded as WebP of quality 90, so that the page stays light

Context = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where a run came from. Empty strings stand on the page as "not recorded"."""

    preset: str
    commit: str = ""
    digest: str = ""  # of the settings
    facts: Mapping[str, str] = field(default_factory=dict)  # anything more: label → text


def write_page(
    destination: Path,
    *,
    results: Path,
    data: Path,
    sequence: Sequence[tuple[str, str]],
    methods: Sequence[str],
    origin: Origin,
) -> None:
    """Write the report of one preset.

    results: `results/<preset>`, of which only `metrics.csv` must be there. data: `data/<preset>`. sequence:
    (task, kind) in the order of learning. methods: in the order of their columns. Raises DataError for a
    file of results that is unreadable or contradicts itself.
    """
    write_text(destination, render(results, data, sequence, methods, origin))


def render(
    results: Path, data: Path, sequence: Sequence[tuple[str, str]], methods: Sequence[str], origin: Origin
) -> str:
    """The page as text; see `write_page`."""
    metrics = _table(results / "metrics.csv")
    if metrics is None:
        raise DataError(f"{results / 'metrics.csv'}: missing; nothing has been measured yet")
    matrix = forgetting_matrix(metrics, sequence)
    learned = [name for name in methods if name != FLOOR]
    samples = {seed: results / "evaluation" / f"seed-{seed}" for seed in matrix.seeds}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        origin=origin,
        seeds=matrix.seeds,
        sequence=matrix.sequence,
        methods=learned,
        absent=[name for name in learned if not any(key[0] == name for key in matrix.values)],
        late=_late(matrix, learned),
        results=_results(matrix, learned),
        classes=_classes(matrix, learned),
        study=_study(),
        forgetting=[_forgetting(matrix, name) for name in learned if _measured(matrix, name)],
        sizes=_sizes(_table(results / "sizes.csv"), matrix, learned),
        zeros=_zeros(_table(results / "analysis" / "zeros.csv"), matrix, learned),
        similarity=_similarity(_table(results / "analysis" / "similarity.csv"), matrix, learned),
        pictures=[_pictures(samples, matrix, learned, task) for task, _ in sequence],
        data=[_data(data / "prepared" / task / "info.json", task) for task, _ in sequence],
        glossary=_glossary(matrix),
    )


# ---------------------------------------------------------------------------------------------- what was
# measured


def _results(matrix: Matrix, methods: Sequence[str]) -> list[Context]:
    """One entry per task: its headline metrics right after learning, floor first, best value marked."""
    tasks = []
    for number, (task, kind) in enumerate(matrix.sequence, 1):
        rows = [
            _row(matrix, methods, task, name, describe(name, kind))
            for name in headlines(kind, matrix.metrics(task))
        ]
        tasks.append(
            {"number": number, "name": task, "kind": kind, "images": matrix.images.get(task), "rows": rows}
        )
    return tasks


def _classes(matrix: Matrix, methods: Sequence[str]) -> list[Context]:
    """One entry per segmentation task: the IoU of each class right after learning."""
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
    """A metric of a task over all methods, right after the task was learned."""
    cells = [_cell(matrix, method, task, name, metric) for method in (FLOOR, *methods)]
    _mark(metric, cells)
    return {"label": metric.label, "unit": metric.unit, "arrow": ARROWS[metric.better], "cells": cells}


def _cell(matrix: Matrix, method: str, task: str, name: str, metric: Metric, *, after: str = "") -> Context | None:
    """A value as shown; without `after`, the one right after learning, or the first that was measured."""
    afters = matrix.afters(method, task)
    if not afters or (after and after not in afters):
        return None
    at = after or afters[0]
    found = matrix.statistic(method, task, at, name)
    if found is None:
        return None
    mean, std = found
    seeds = len(matrix.values[method, task, at, name])
    return {
        "value": mean,
        "text": written(metric, mean),
        "std": written(metric, std, mean) if std is not None else "",
        "note": f"{seeds} of {len(matrix.seeds)} seeds" if seeds < len(matrix.seeds) else "",
        "best": False,
        "no_better_than_floor": False,
    }


def _mark(metric: Metric, cells: Sequence[Context | None]) -> None:
    """Mark the best method by the digits shown, unless all are alike; and what does not beat the floor."""
    floor, *methods = cells
    scores = [
        badness(metric, float(cell["text"].replace(",", ""))) if cell is not None else None for cell in methods
    ]
    known = [score for score in scores if score is not None]
    for cell, score in zip(methods, scores, strict=True):
        if cell is None or score is None:
            continue
        cell["best"] = score == min(known) and min(known) < max(known)
        bar = badness(metric, floor["value"]) if floor is not None else None
        own = badness(metric, cell["value"])
        cell["no_better_than_floor"] = bar is not None and own is not None and own >= bar


def _late(matrix: Matrix, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Methods that were not measured right after each task but only after the last, and that task's name."""
    last = matrix.sequence[-1][0]
    every = {name: {tuple(matrix.afters(name, task)) for task, _ in matrix.sequence} for name in methods}
    return [
        (name, last) for name, afters in every.items() if afters - {()} == {(last,)} and len(matrix.sequence) > 1
    ]


def _measured(matrix: Matrix, method: str) -> bool:
    """Whether there is any row of this method."""
    return any(matrix.afters(method, task) for task, _ in matrix.sequence)


def _forgetting(matrix: Matrix, method: str) -> Context:
    """The matrix of one method: tasks and their metrics × after which task they were measured.

    `heat` is the share of the quality right after learning that is lost (for errors: by which they grew), in
    per cent, at most 100; negative where the task became better.
    """
    rows = []
    for task, kind in matrix.sequence:
        afters = matrix.afters(method, task)
        for name in forgetting_metrics(kind, matrix.metrics(task)):
            metric = describe(name, kind)
            cells: list[Context | None] = []
            for after, _ in matrix.sequence:
                cell = _cell(matrix, method, task, name, metric, after=after)
                first = matrix.statistic(method, task, afters[0], name) if afters else None
                if cell is not None and first is not None:
                    cell["learned"] = after == afters[0]
                    cell["unchanged"] = matrix.unchanged(method, task, after)
                    cell["heat"] = _loss(metric, first[0], cell["value"])
                cells.append(cell)
            if any(cells):
                rows.append({"task": task, "label": metric.label, "arrow": ARROWS[metric.better], "cells": cells})
    return {"method": method, "rows": rows, "identical": matrix.bit_identical(method)}


def _loss(metric: Metric, first: float, now: float) -> int:
    """The change for the worse relative to the value right after learning, in per cent within ±100."""
    if first == now:
        return 0
    change = (now - first) / abs(first) if first else math.copysign(1, now - first)
    return round(100 * max(-1.0, min(1.0, -change if metric.better == "higher" else change)))


def _glossary(matrix: Matrix) -> list[Context]:
    """Every metric that the tables of this page show, with what it means."""
    kinds = {name for task, kind in matrix.sequence for name in headlines(kind, matrix.metrics(task))}
    names = [name for name in METRICS if name in kinds] + sorted(kinds - METRICS.keys())
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
    """The study's printed tables, in the shape of this run's."""
    rows = []
    for row in (*study.RESULTS, *study.FORGETTING):
        metric = describe(row.metric, "style" if row.task.startswith("style") else "")
        cells = [None if value is None else written(metric, value) for value in row.values]
        later = f"{row.task} after {row.after}" if row.after != row.task else row.task
        rows.append({"task": later, "label": metric.label, "arrow": ARROWS[metric.better], "cells": cells})
    return {
        "source": study.SOURCE,
        "methods": study.METHODS,
        "rows": rows,
        "sizes": [f"{study.SIZE_MIB[method]:,.1f}" for method in study.METHODS],
        "losses": study.RESBLOCK_SEGMENTATION,
    }


# ------------------------------------------------------------------------------------------------ sizes and
# masks


def _sizes(sizes: pd.DataFrame | None, matrix: Matrix, methods: Sequence[str]) -> Context | None:
    """Bytes of each stored file, of each component and by the study's accounting; None: not recorded."""
    if sizes is None:
        return None
    run = sizes[sizes["needed_to"] == "run"]
    components = list(dict.fromkeys(run["component"]))
    reference = bytes_needed(sizes, "run", "scratch", weights_only=True)
    rows = []
    for method in methods:
        own = run[run["method"] == method]
        weights = bytes_needed(sizes, "run", method, weights_only=True)
        if math.isnan(weights):
            continue
        seeds = own["seed"].nunique()
        later = bytes_needed(sizes, "learn", method)
        rows.append(
            {
                "method": method,
                "files": [_kib(own[own["task"] == task]["bytes"], seeds) for task, _ in matrix.sequence],
                "components": [_kib(own[own["component"] == name]["bytes"], seeds) for name in components],
                "run": f"{bytes_needed(sizes, 'run', method) / MIB:,.2f}",
                "learn": f"{later / MIB:,.2f}" if later else "",
                "weights": f"{weights / MIB:,.2f}",
                "share": "" if math.isnan(reference) else f"{100 * weights / reference:.0f}",
                "study": f"{study.SIZE_MIB[method]:,.1f}" if method in study.SIZE_MIB else "",
                "study_share": f"{100 * study.SIZE_MIB[method] / study.SIZE_MIB['scratch']:.0f}"
                if method in study.SIZE_MIB
                else "",
            }
        )
    return {"components": components, "uncounted": UNCOUNTED, "rows": rows}


def _kib(column: "pd.Series[int]", seeds: int) -> str:
    """A sum of bytes in KiB, mean over seeds; empty for none."""
    return f"{column.sum() / seeds / 1024:,.1f}" if len(column) else ""


def _zeros(zeros: pd.DataFrame | None, matrix: Matrix, methods: Sequence[str]) -> list[Context] | None:
    """Per method with masks: a dot plot, layers down and share of zeros across; None: not recorded."""
    if zeros is None:
        return None
    measured = zeros[zeros["method"].isin(methods)]
    widest = 100 * float(measured["zeros"].max()) if len(measured) else 100
    step = next((width for width in (2, 5, 10) if widest <= 6 * width), 20)
    limit = step * max(1, math.ceil(widest / step))
    charts = []
    for method in methods:
        own = measured[measured["method"] == method]
        if own.empty:
            continue
        layers = list(dict.fromkeys(own["layer"]))
        tasks = [task for task in _tasks(matrix, own["task"]) if task in set(own["task"])]
        series = []
        for number, task in enumerate(tasks):
            of_task = own[own["task"] == task]
            share = of_task.groupby("layer")["zeros"].mean()
            points = [
                {"row": layers.index(layer), "x": 100 * float(share[layer]), "layer": layer}
                for layer in layers
                if layer in share.index
            ]
            total = float((of_task["zeros"] * of_task["weights"]).sum() / of_task["weights"].sum())
            series.append({"task": task, "number": number, "points": points, "total": f"{100 * total:.1f}"})
        charts.append(
            {
                "method": method,
                "layers": [{"name": layer, "short": layer.removesuffix(".weight")} for layer in layers],
                "series": series,
                "limit": limit,
                "ticks": list(range(0, limit + 1, step)),
            }
        )
    return charts


def _similarity(similarity: pd.DataFrame | None, matrix: Matrix, methods: Sequence[str]) -> list[Context] | None:
    """Per method: mask similarities beside their value under independence, the study's at the end."""
    if similarity is None:
        return None
    names = _tasks(matrix, [*similarity["task"], *similarity["other"]])
    triangles = []
    for method in methods:
        pairs: dict[tuple[str, str], tuple[float, float | None]] = {}
        own = similarity[similarity["method"] == method]
        for pair, rows in own.groupby(["task", "other"]):
            earlier, later = sorted((str(name) for name in pair), key=names.index)
            pairs[later, earlier] = (float(rows["similarity"].mean()), float(rows["independent"].mean()))
        if pairs:
            triangles.append(_triangle(method, names, pairs))
    printed = {pair: (value, None) for pair, value in study.MASK_SIMILARITY.items()}
    order = list(dict.fromkeys(name for pair in printed for name in reversed(pair)))
    return [*triangles, _triangle("the study", order, printed)]


def _tasks(matrix: Matrix, named: Iterable[str]) -> list[str]:
    """The tasks in the order of learning, then those named that the sequence does not have."""
    return list(dict.fromkeys([*(task for task, _ in matrix.sequence), *named]))


def _triangle(
    title: str, order: Sequence[str], pairs: Mapping[tuple[str, str], tuple[float, float | None]]
) -> Context:
    """Rows are the later task, columns the earlier; `points` is the difference to independence in points."""
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


# ---------------------------------------------------------------------------------------------- pictures and
# data


def _pictures(samples: Mapping[int, Path], matrix: Matrix, methods: Sequence[str], task: str) -> Context:
    """The sample pictures of a task from the first seed that has any: one row per sample.

    Columns: input, target and floor, then each method right after learning and, unless its predictions are
    known to be unchanged, after the last task.
    """
    columns: list[Context] = [
        {"group": "", "title": what, "method": FLOOR, "what": what} for what in ("input", "target", "floor")
    ]
    for method in methods:
        afters = matrix.afters(method, task)
        if not afters:
            continue
        shown = [afters[0]]
        if len(afters) > 1 and matrix.unchanged(method, task, afters[-1]) is not True:
            shown.append(afters[-1])
        columns += [
            {"group": method, "title": f"after {after}", "method": method, "what": f"after-{after}"}
            for after in shown
        ]
    found: list[dict[int, Path]] = []
    seed = None
    for seed in samples:
        found = [_samples(samples[seed] / c["method"] / "samples" / task, c["what"]) for c in columns]
        if any(found):
            break
    numbers = sorted({number for files in found for number in files})
    missing = [f"{c['group']} {c['title']}".strip() for c, files in zip(columns, found, strict=False) if not files]
    kept = [(column, files) for column, files in zip(columns, found, strict=False) if files]
    return {
        "task": task,
        "seed": seed,
        "columns": [column for column, _ in kept],
        "groups": [(name, len(list(members))) for name, members in groupby(column["group"] for column, _ in kept)],
        "rows": [
            [
                {
                    "alt": f"{task}, sample {number}: {column['group']} {column['title']}",
                    **_embedded(files[number]),
                }
                if number in files
                else None
                for column, files in kept
            ]
            for number in numbers
        ],
        "missing": missing,
    }


def _samples(folder: Path, what: str) -> dict[int, Path]:
    """The files `<what>-<i>.png` of a folder by their number; none where there is no folder."""
    name = re.compile(re.escape(what) + r"-(\d+)\.png")
    matches = ((name.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
    return {int(match[1]): path for match, path in matches if match}


def _embedded(path: Path) -> Context:
    """A picture as a data URI, and its size in pixels; large files become WebP. DataError if unreadable."""
    content, kind = path.read_bytes(), "png"
    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            if len(content) > EMBEDDED_BYTES:
                smaller = io.BytesIO()
                picture.convert("RGB").save(smaller, "WEBP", quality=90, method=4)
                content, kind = smaller.getvalue(), "webp"
    except OSError as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return {"uri": uri, "width": width, "height": height}


def _data(path: Path, task: str) -> Context:
    """The splits of a task's data with their counts, and what was left out; `known`: whether it is recorded.

    Reads `splits` → {split: {"pictures": …, "refused": …, "broken": …}} and `left_out` → [{"split", "source"
    or "file", "kind", "reason"}]; a bare list is taken for the latter.
    """
    context: Context = {"task": task, "known": path.is_file(), "splits": [], "left_out": []}
    if not path.is_file():
        return context
    try:
        info = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if isinstance(info, list):
        info = {"left_out": info}
    order = {"train": 0, "val": 1, "test": 2}  # the file is sorted by name
    splits = sorted(info.get("splits", {}).items(), key=lambda split: order.get(split[0], len(order)))
    context["splits"] = [
        {"name": name, **{what: _count(split, what) for what in ("pictures", "refused", "broken")}}
        for name, split in splits
    ]
    context["left_out"] = [
        {
            "file": entry.get("source", entry.get("file", "?")),
            "what": ", ".join(entry[key] for key in ("split", "kind") if key in entry),
            "reason": entry.get("reason", "no reason recorded"),
        }
        for entry in info.get("left_out", [])
    ]
    return context


def _count(split: Mapping[str, Any], what: str) -> str:
    """A count as shown."""
    return f"{split[what]:,}" if what in split else "–"


def _table(path: Path) -> pd.DataFrame | None:
    """A table of results, names kept as text even where they read as numbers; None where there is no file."""
    if not path.is_file():
        return None
    names = ["method", "task", "after", "metric", "checksum", "component", "needed_to", "layer", "other"]
    numbers = ["value", "zeros", "similarity", "independent"]
    kinds: dict[str, type] = {**dict.fromkeys(names, str), **dict.fromkeys(numbers, float)}
    empty = {number: ["", "nan", "NaN"] for number in numbers}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable table ({error})") from error
