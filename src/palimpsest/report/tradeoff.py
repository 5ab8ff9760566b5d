"""Table of the forgetting summary, and the Pareto front of quality against bytes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from palimpsest.analysis.significance import total_deviation
from palimpsest.analysis.tables import require_columns
from palimpsest.methods import entry_of
from palimpsest.settings import REFERENCE, Settings

Context = dict[str, Any]
"""Values for the template of the page, by name."""

COLUMN_FORMATS = {
    "final_quality": (100, 1, False),  # per cent
    "backward_transfer": (100, 1, True),
    "forward_transfer": (100, 1, True),
    "excess_loss": (100, 1, True),
    "bytes_per_added_task": (1 / 1024, 1, False),  # KiB
    "learn_bytes": (1 / 1024, 1, False),
    "seconds": (1, 1, False),
    "peak_memory": (1, 0, False),
}
"""Format of each column of `forgetting.csv` in tables: factor, decimals, True for a sign of positive numbers."""


def summary_table(
    forgetting: pd.DataFrame,
    methods: Sequence[str],
    incomparable: Mapping[str, str] | None = None,
    ablations: Mapping[str, pd.DataFrame] | None = None,
) -> Context:
    """Return the table of `forgetting.csv` for the template, with a row per method, and its Pareto front.

    incomparable: reason by method, for methods that are not comparable with the others; the front excludes them.
    ablations: tables of the same columns by method, whose rows are the method with other settings; they have a
    position and can be on the front, but no row in the table.

    Keys of the result: `front` lists the methods that no other method dominates in quality and bytes. `positions`
    has (bytes, quality) of the methods with both figures, `spread` the standard deviation of the quality, and
    `left_out` the methods that lack a figure. `incomparable` lists methods by reason. `missing` has True for
    `reference` if quality is empty because `scratch` was not trained, and for `costs` if no time was recorded.

    Raises:
        DataError: the table lacks a column.
    """
    require_columns(forgetting, ["method", *COLUMN_FORMATS], "forgetting.csv")
    by_method = {str(row["method"]): row for row in forgetting.to_dict("records")}
    listed = [method for method in methods if method in by_method]
    reason_of = dict(incomparable or {})
    ablated: dict[str, Any] = {}
    for method, table in (ablations or {}).items():
        rows = {str(row["method"]): row for row in table.to_dict("records") if row["method"] != REFERENCE}
        ablated |= rows
        reason_of |= dict.fromkeys(rows, reason_of[method]) if method in reason_of else {}
    by_method = ablated | by_method
    positions = {
        method: (float(by_method[method]["bytes_per_added_task"]), float(by_method[method]["final_quality"]))
        for method in dict.fromkeys((*listed, *ablated))
    }

    def measured(figure: str) -> bool:
        return any(math.isfinite(by_method[method][figure]) for method in listed)

    drawn = {
        m: position for m, position in positions.items() if all(map(math.isfinite, position)) and position[0] > 0
    }
    reasons = {method: reason for method, reason in reason_of.items() if method in drawn}
    front = pareto_front({method: position for method, position in drawn.items() if method not in reasons})
    spread = {method: deviation_of(by_method[method], "final_quality") for method in drawn}
    return {
        "reference": REFERENCE,
        "rows": [{"method": m, "front": m in front, "cells": [*formatted_figures(by_method[m])]} for m in listed],
        "front": front,
        "incomparable": {
            reason: [m for m in reasons if reasons[m] == reason] for reason in dict.fromkeys(reasons.values())
        },
        "left_out": [method for method in listed if method not in drawn],
        "missing": {
            "reference": REFERENCE not in listed and not measured("final_quality"),
            "costs": not measured("seconds"),
        },
        "positions": drawn,
        "spread": spread,
    }


def incomparable_methods(settings: Settings) -> dict[str, str]:
    """Return, by method, why its bytes and quality cannot be compared with those of the other methods.

    Comparable methods are left out.
    """
    reasons = {}
    for method in settings.methods:
        width = settings.network_of(method).width
        if entry_of(method).together:
            reasons[method] = "learns all tasks at once"
        elif width != settings.network.width:
            reasons[method] = f"of width {width} instead of {settings.network.width}"
    return reasons


def formatted_figures(row: Mapping[Any, Any]) -> Iterator[Context]:
    """Yield `text`, `std` (empty if unknown) and `best` of each figure in a row of `forgetting.csv`, formatted."""
    for figure, (scale, digits, signed) in COLUMN_FORMATS.items():
        value, deviation = scale * float(row.get(figure, math.nan)), scale * deviation_of(row, figure)
        yield {
            "text": format_number(value, digits, signed),
            "std": format_number(deviation, digits) if deviation else "",
            "best": is_best(row, figure),
        }


def deviation_of(row: Mapping[Any, Any], figure: str) -> float:
    """Return the deviation of a figure in a row of `forgetting.csv`: over seeds and, if known, over pictures.

    It is NaN if neither is known; see `palimpsest.analysis.significance.total_deviation`.
    """
    deviation = total_deviation(*(float(row.get(f"{figure}_{part}", math.nan)) for part in ("std", "error")))
    return math.nan if deviation is None else deviation


def is_best(row: Mapping[Any, Any], figure: str) -> bool:
    """Return whether a row of `forgetting.csv` marks a figure as one of the best."""
    return row.get(f"{figure}_best") is True


def format_number(value: float, digits: int, signed: bool = False) -> str:
    """Return a number as text with these decimals; empty if it is not finite. Zero never has a sign."""
    if not math.isfinite(value):
        return ""
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    zero = not any(digit in text for digit in "123456789")
    return text.lstrip("+-") if zero else text.replace("-", "−")


def pareto_front(positions: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of the positions (cost, quality) that no other position dominates, by ascending cost.

    A position dominates another if its cost is not higher, its quality is not lower, and the two differ.
    """

    def dominated(position: tuple[float, float]) -> bool:
        return any(p != position and p[0] <= position[0] and p[1] >= position[1] for p in positions.values())

    return sorted(
        (name for name, position in positions.items() if not dominated(position)), key=lambda n: positions[n][0]
    )
