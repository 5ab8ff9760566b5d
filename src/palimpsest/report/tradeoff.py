"""Table of the forgetting summary, and the Pareto front of quality against bytes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from palimpsest.analysis.tables import require_columns
from palimpsest.analysis.transfer import REFERENCE

Context = dict[str, Any]

SHOWN = {
    "relative_quality": (100, 1, False),  # per cent
    "backward_transfer": (100, 1, True),
    "forward_transfer": (100, 1, True),
    "bytes_per_added_task": (1 / 1024, 1, False),  # KiB
    "learn_bytes": (1 / 1024, 1, False),
    "seconds": (1, 1, False),
    "peak_memory": (1, 0, False),
}
"""Format of each column of `forgetting.csv` in the table: factor, decimals, sign of positive numbers."""


def summary_table(
    forgetting: pd.DataFrame, methods: Sequence[str], apart: Mapping[str, str] | None = None
) -> Context:
    """Return the forgetting summary with a row per method.

    apart: reason by method for methods that are not comparable with the others; the front excludes them.

    Keys of the result: `front` lists the methods that no other method dominates. `places` has (bytes, quality) of
    the methods with both figures, `spread` the standard deviation of this quality. `apart` lists methods by reason.
    `missing` is true for `reference` or `costs` if cells are empty because the run lacks them.
    """
    require_columns(forgetting, ["method", *SHOWN], "forgetting.csv")
    by_method = {str(row["method"]): row for row in forgetting.to_dict("records")}
    shown = [method for method in methods if method in by_method]
    places = {
        method: (float(by_method[method]["bytes_per_added_task"]), float(by_method[method]["relative_quality"]))
        for method in shown
    }

    def known(figure: str) -> bool:
        return any(math.isfinite(by_method[method][figure]) for method in shown)

    drawn = {m: place for m, place in places.items() if all(map(math.isfinite, place)) and place[0] > 0}
    reasons = {method: why for method, why in (apart or {}).items() if method in drawn}
    front = pareto_front({method: place for method, place in drawn.items() if method not in reasons})
    spread = {method: float(by_method[method].get("relative_quality_std", math.nan)) for method in drawn}
    return {
        "reference": REFERENCE,
        "rows": [{"method": m, "front": m in front, "cells": [*cells(by_method[m])]} for m in shown],
        "front": front,
        "apart": {why: [m for m in reasons if reasons[m] == why] for why in dict.fromkeys(reasons.values())},
        "left_out": [method for method in shown if method not in drawn],
        "missing": {
            "reference": REFERENCE not in shown and not known("relative_quality"),
            "costs": not known("seconds"),
        },
        "places": drawn,
        "spread": spread,
    }


def cells(row: Mapping[Any, Any]) -> Iterator[Context]:
    """Yield the formatted figures of a method, each with its deviation if there are several seeds."""
    for figure, (scale, digits, signed) in SHOWN.items():
        value, deviation = (scale * float(row.get(name, math.nan)) for name in (figure, f"{figure}_std"))
        yield {"text": number(value, digits, signed), "std": number(deviation, digits) if deviation else ""}


def number(value: float, digits: int, signed: bool = False) -> str:
    """Format a number; empty if it is not finite."""
    if not math.isfinite(value):
        return ""
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    zero = not any(digit in text for digit in "123456789")
    return text.lstrip("+-") if zero else text.replace("-", "−")


def pareto_front(places: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names whose (cost, quality) no other one dominates, by ascending cost; the sort is stable.

    A point dominates another if its cost is not higher, its quality not lower, and the two differ.
    """

    def dominated(place: tuple[float, float]) -> bool:
        return any(other != place and other[0] <= place[0] and other[1] >= place[1] for other in places.values())

    return sorted((name for name, place in places.items() if not dominated(place)), key=lambda n: places[n][0])
