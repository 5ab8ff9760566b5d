"""Tables in README and docs/, written from results between markers.

<!-- table:mini -->
| | | floor | scratch | …
<!-- /table:mini -->
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from palimpsest.analysis.accounting import MIB
from palimpsest.analysis.tables import worst
from palimpsest.errors import DataError
from palimpsest.metrics.described import (
    badness,
    describe,
    forgetting_metrics,
    format_value,
    in_short,
    kind_measured_by,
    metric_title,
)
from palimpsest.metrics.metric import Metric
from palimpsest.report.tradeoff import COLUMN_FORMATS, format_number
from palimpsest.settings import FLOOR
from palimpsest.storage.atomic import write_text

Summary = Mapping[str, Any]


def write_tables(document: Path, tables: Mapping[str, str]) -> None:
    """Replace, in the file `document`, the text between the markers of each table; `tables` has the text by name.

    Raises:
        DataError: a marker is missing, duplicated or in the wrong order; the file is unchanged.
    """
    text = document.read_text("utf-8")
    for name, content in tables.items():
        start, end = _table_span(document, text, name)
        text = f"{text[:start]}\n{content}{text[end:]}"
    write_text(document, text)


def has_table(document: Path, name: str) -> bool:
    """Return whether the file has markers for the table of this name."""
    return f"<!-- table:{name} -->" in document.read_text("utf-8")


def tasks_table(summary: Summary) -> str:
    """Return the content of a `summary.json` as a Markdown table with a column per method.

    Rows are the metrics of each task, forgetting and sizes. The best values of a row are bold.
    """
    methods = list(summary)
    tasks = sorted({key for entry in summary.values() for key in entry if key.startswith("task ")}, key=_number)
    names = [key.split(" ", 2)[2] for key in tasks]
    rows = [["task", "metric", *methods], ["---", "---", *["---:"] * len(methods)]]
    for index, (key, name) in enumerate(zip(tasks, names, strict=True), 1):
        cells = {method: summary[method].get(key, {}) for method in methods}
        rows += _rows(f"{index} {_code(name)}", cells, _metrics(cells.values()))
    for position, name in enumerate(names):
        cells = {method: summary[method].get(tasks[position], {}) for method in methods}
        measured = _metrics(cells.values())
        for after in names[position + 1 :]:
            later = {m: summary[m].get("forgetting", {}).get(f"{name} after {after}", {}) for m in methods}
            if any(later.values()):
                metrics = forgetting_metrics(kind_measured_by(measured), measured)
                rows += _rows(f"{_code(name)} after {_code(after)}", later, metrics)
    for label, unit, values in (
        ("predictions since learned", "", [_since_learned(summary[m]) for m in methods]),
        ("weights of all tasks", "MiB", [_mib(summary[m].get("size_mib")) for m in methods]),
        ("all files needed to run", "MiB", [_mib(summary[m].get("bytes"), MIB) for m in methods]),
    ):
        if set(values) != {"–"}:
            rows.append([label, unit, *values])
    return markdown(rows)


def methods_table(summary: Summary, forgetting: pd.DataFrame) -> str:
    """Return a `summary.json` and the table of a `forgetting.csv` as one Markdown table with a row per method.

    Columns are the metrics of each task right after training, those of the first task after training on the second,
    and the figures of `FIGURE_TITLES`.
    """
    methods = list(summary)
    figures_of = {str(row["method"]): row for row in forgetting.to_dict("records")}
    columns: list[tuple[str, list[str]]] = []
    tasks = sorted({key for entry in summary.values() for key in entry if key.startswith("task ")}, key=_number)
    names = [key.split(" ", 2)[2] for key in tasks]
    blocks = [
        (_code(name), {m: summary[m].get(key, {}) for m in methods}) for key, name in zip(tasks, names, strict=True)
    ]
    if len(names) > 1:
        first, second = names[:2]
        forgotten = {m: summary[m].get("forgetting", {}).get(f"{first} after {second}", {}) for m in methods}
        blocks.append((f"{_code(first)} after {_code(second)}", forgotten))
    for label, cells in blocks:
        for name in in_short(_metrics(cells.values())):
            ((_, title, *values),) = _rows("", cells, [name])
            columns.append((f"{label} {title}", values))
    for figure, title in FIGURE_TITLES.items():
        cells_of = [_figure(figures_of.get(method, {}), figure) for method in methods]
        columns.append((title, cells_of))
    since_learned = [_since_learned(summary[method]) for method in methods]
    if set(since_learned) != {"–"}:
        columns.append(("predictions since learned", since_learned))
    header = ["", *(title for title, _ in columns)]
    rows = [[_code(method), *(values[index] for _, values in columns)] for index, method in enumerate(methods)]
    return markdown([header, ["---", *["---:"] * len(columns)], *rows])


def _since_learned(entry: Mapping[str, Any]) -> str:
    """Return the worst outcome of comparing a method's predictions with those recorded after training, or a dash.

    entry: the method's entry in `summary.json`.
    """
    counts = entry.get("since_learned", {})
    return worst([outcome for outcome, number in counts.items() if number]) or "–"


FIGURE_TITLES = {
    "relative_quality": "final quality (%)",
    "backward_transfer": "backward transfer (%)",
    "forward_transfer": "forward transfer (%)",
    "bytes_per_added_task": "KiB a task, to run",
    "learn_bytes": "KiB in all, to learn on",
    "seconds": "s a task",
    "peak_memory": "peak MiB",
}
"""Title in a Markdown table of each column of `forgetting.csv`."""


def _figure(row: Mapping[Any, Any], figure: str) -> str:
    """Return one figure in a row of `forgetting.csv` as text with ± its standard deviation, or a dash."""
    scale, digits, signed = COLUMN_FORMATS[figure]
    value, deviation = (scale * float(row.get(name, math.nan)) for name in (figure, f"{figure}_std"))
    spread = f" ± {format_number(deviation, digits)}" if math.isfinite(deviation) else ""
    return (format_number(value, digits, signed) + spread) or "–"


def markdown(rows: Iterable[Iterable[str]]) -> str:
    """Return rows of cells as a Markdown table; the caller supplies the row of dashes after the header."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(label: str, cells: Mapping[str, Mapping[str, float]], names: Iterable[str]) -> list[list[str]]:
    """Return one Markdown row per metric: label (only in the first row), metric, and a cell per method.

    cells: values by metric, for each method. names: the metrics.
    """
    rows = []
    kind = kind_measured_by(_metrics(cells.values()))
    for name in names:
        metric = describe(name, kind)
        values = [_written(metric, name, cell) for cell in cells.values()]
        best = _best(metric, name, cells)
        marked = [f"**{v}**" if m in best else v for m, v in zip(cells, values, strict=True)]
        rows.append([label, metric_title(metric), *marked])
        label = ""
    return rows


def _written(metric: Metric, name: str, cell: Mapping[str, float]) -> str:
    """Return the value of a metric as text with ± its standard deviation over several seeds; a dash for no value.

    cell: values of one method by name of the metric; `<name>_std` is the standard deviation.
    """
    if name not in cell:
        return "–"
    mean, deviation = cell[name], cell.get(f"{name}_std")
    spread = "" if deviation is None else f" ± {format_value(metric, deviation, mean)}"
    return format_value(metric, mean) + spread


def _best(metric: Metric, name: str, cells: Mapping[str, Mapping[str, float]]) -> set[str]:
    """Return the methods with the best value of a metric, apart from the floor; none if all values are equal."""
    scores = {m: badness(metric, cell[name]) for m, cell in cells.items() if m != FLOOR and name in cell}
    valid = [score for score in scores.values() if score is not None]
    if not valid or min(valid) == max(valid):
        return set()
    return {method for method, score in scores.items() if score == min(valid)}


def _metrics(cells: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the names of the metrics in the cells, each once, without the standard deviations."""
    return list(dict.fromkeys(name for cell in cells for name in cell if not name.endswith("_std")))


def _mib(value: float | None, unit: int = 1) -> str:
    """Return `value` / `unit` as text with two decimals; a dash for None."""
    return "–" if value is None else f"{value / unit:,.2f}"


def _number(key: str) -> int:
    """Return the number in a key `task <number> <name>` of `summary.json`."""
    return int(key.split(" ", 2)[1])


def _code(name: str) -> str:
    """Return a task's name as Markdown code, with `|` escaped for tables."""
    return "`" + name.replace("|", "\\|") + "`"


def _table_span(document: Path, text: str, name: str) -> tuple[int, int]:
    """Return start and end of the text between the markers of a table in the text of a document.

    Raises:
        DataError: a marker is missing, duplicated or in the wrong order; the message names the document.
    """
    opening, closing = f"<!-- table:{name} -->", f"<!-- /table:{name} -->"
    for marker in (opening, closing):
        if text.count(marker) != 1:
            raise DataError(
                f"{document}: expected one marker {marker}, found {text.count(marker)}; correct the page"
            )
    start, end = text.index(opening) + len(opening), text.index(closing)
    if end < start:
        raise DataError(f"{document}: {closing} precedes {opening}; exchange them")
    return start, end
