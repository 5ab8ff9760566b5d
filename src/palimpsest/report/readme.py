"""Tables in README and docs/, written from results between markers.

<!-- table:mini -->
| | | floor | scratch | …
<!-- /table:mini -->
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.analysis.accounting import MIB
from palimpsest.analysis.significance import total_deviation
from palimpsest.analysis.tables import worst
from palimpsest.errors import DataError
from palimpsest.metrics.described import (
    describe,
    forgetting_metrics,
    format_value,
    in_short,
    kind_measured_by,
    metric_title,
)
from palimpsest.metrics.metric import Metric
from palimpsest.report.tradeoff import COLUMN_FORMATS, deviation_of, format_number, is_best
from palimpsest.storage.atomic import write_text

Summary = Mapping[str, Any]
"""Content of a `summary.json`."""


class Cell(NamedTuple):
    """Cell of a table."""

    text: str
    best: bool = False
    """True if no other method is significantly better."""


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

    Rows are the metrics of each task, those of all tasks after the last training, and sizes. Bold values are those
    that `summarise` marks as best.
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
        after = names[-1]
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
    """Return the table of `methods_cells` as Markdown."""
    return methods_markdown(*methods_cells(summary, forgetting))


def methods_markdown(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return the result of `methods_cells` as a Markdown table."""
    lines = [[_code(row[0].text), *map(_marked, row[1:])] for row in rows]
    return markdown([header, ["---", *["---:"] * (len(header) - 1)], *lines])


def methods_cells(summary: Summary, forgetting: pd.DataFrame) -> tuple[list[str], list[list[Cell]]]:
    """Return header and rows of a table with a row per method, from a `summary.json` and a `forgetting.csv`.

    Columns are the metrics of each task right after training, those of the first task after training on the second,
    and the figures of `FIGURE_TITLES` that were measured.
    """
    methods = list(summary)
    figures_of = {str(row["method"]): row for row in forgetting.to_dict("records")}
    columns: list[tuple[str, list[Cell]]] = []
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
        kind = kind_measured_by(_metrics(cells.values()))
        for name in in_short(_metrics(cells.values())):
            metric = describe(name, kind)
            columns.append((f"{label} {metric_title(metric)}", [_cell(metric, name, c) for c in cells.values()]))
    for figure, title in FIGURE_TITLES.items():
        columns.append((title, [_figure(figures_of.get(method, {}), figure) for method in methods]))
    columns.append(("predictions since learned", [Cell(_since_learned(summary[method])) for method in methods]))
    columns = [(title, cells) for title, cells in columns if {cell.text for cell in cells} != {"–"}]
    header = ["", *(title for title, _ in columns)]
    rows = [[Cell(method), *(cells[index] for _, cells in columns)] for index, method in enumerate(methods)]
    return header, rows


def _since_learned(entry: Mapping[str, Any]) -> str:
    """Return the worst outcome of comparing a method's predictions with those recorded after training, or a dash.

    entry: the method's entry in `summary.json`.
    """
    counts = entry.get("since_learned", {})
    return worst([outcome for outcome, number in counts.items() if number]) or "–"


FIGURE_TITLES = {
    "final_quality": "final quality (%)",
    "backward_transfer": "backward transfer (%)",
    "forward_transfer": "forward transfer (%)",
    "excess_loss": "excess loss (%)",
    "bytes_per_added_task": "KiB a task, to run",
    "learn_bytes": "KiB in all, to learn on",
    "seconds": "s a task",
    "peak_memory": "peak MiB",
}
"""Title in a Markdown table of each column of `forgetting.csv`."""


def _figure(row: Mapping[Any, Any], figure: str) -> Cell:
    """Return the cell of one figure in a row of `forgetting.csv`, with ± its deviation; a dash if not measured."""
    scale, digits, signed = COLUMN_FORMATS[figure]
    value, deviation = scale * float(row.get(figure, math.nan)), scale * deviation_of(row, figure)
    spread = f" ± {format_number(deviation, digits)}" if math.isfinite(deviation) else ""
    return Cell((format_number(value, digits, signed) + spread) or "–", is_best(row, figure))


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
        rows.append([label, metric_title(metric), *(_marked(_cell(metric, name, c)) for c in cells.values())])
        label = ""
    return rows


def _marked(cell: Cell) -> str:
    """Return a cell as Markdown, bold if it is one of the best."""
    return f"**{cell.text}**" if cell.best else cell.text


def _cell(metric: Metric, name: str, values: Mapping[str, float]) -> Cell:
    """Return the cell of a metric, with ± its deviation over seeds and pictures; a dash for no value.

    values: values of one method by name of the metric. `<name>_std` is the standard deviation over seeds,
    `<name>_se` the bootstrap standard error over pictures.
    """
    if name not in values:
        return Cell("–")
    mean, deviation = values[name], total_deviation(values.get(f"{name}_std"), values.get(f"{name}_se"))
    spread = f" ± {format_value(metric, deviation, mean)}" if deviation is not None else ""
    return Cell(format_value(metric, mean) + spread, bool(values.get(f"{name}_best")))


def _metrics(cells: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the names of the metrics in the cells, each once, without deviations and marks."""
    return list(
        dict.fromkeys(name for cell in cells for name in cell if not name.endswith(("_std", "_se", "_best")))
    )


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
