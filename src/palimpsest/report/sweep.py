"""The table of a sweep: every variant beside the methods as they are set."""

import pandas as pd

from palimpsest.report.readme import ARROWS, markdown
from palimpsest.report.summary import describe, written

SHOWN = ("miou", "ssim", "ciede2000", "total_loss")
"""The metrics that compare variants, of each task those that it has; a style's SSIM has no better or worse."""


def sweep_table(rows: pd.DataFrame) -> str:
    """Markdown from `sweep.csv`: a line per method and variant, means over the seeds ± their standard deviation.

    The base task's figure says which base network a line stands on: a variant that changes the training has its
    own. `zeros` is the mean of all tasks' masks.
    """
    measured = rows.fillna({"variant": ""})
    styles = set(measured.loc[measured["metric"] == "total_loss", "task"])
    columns = [
        (task, metric)
        for task in dict.fromkeys(measured["task"])
        for metric in SHOWN
        if ((measured["task"] == task) & (measured["metric"] == metric)).any()
        and not (metric == "ssim" and task in styles)
    ]
    header = ["", *(f"`{task}` {_label(metric)}" for task, metric in columns), "zeros (%)"]
    lines = [header, ["---", *["---:"] * (len(columns) + 1)]]
    for variant, method in dict.fromkeys(measured[["variant", "method"]].itertuples(index=False, name=None)):
        own = measured[(measured["variant"] == variant) & (measured["method"] == method)]
        cells = [_cell(own[(own["task"] == task) & (own["metric"] == metric)], metric) for task, metric in columns]
        zeros = own.loc[own["metric"] == "zeros", "value"]
        name = f"{method}, `{variant}`" if variant else f"**{method}**"
        lines.append([name, *cells, f"{100 * zeros.mean():.0f}" if len(zeros) else "–"])
    return markdown(lines)


def _label(name: str) -> str:
    metric = describe(name)
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.label}{unit}{ARROWS[metric.better]}"


def _cell(values: pd.DataFrame, name: str) -> str:
    """Mean of the seeds, and ± their standard deviation where there are several."""
    metric, found = describe(name), values["value"]
    mean = float(found.mean())
    beside = f" ± {written(metric, float(found.std()), mean)}" if len(found) > 1 else ""
    return written(metric, mean) + beside
