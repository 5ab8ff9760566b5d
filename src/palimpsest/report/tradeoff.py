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
"""How the table shows each column of `forgetting.csv`: times what, with how many decimals, with a plus or not."""


def summary_table(
    forgetting: pd.DataFrame, methods: Sequence[str], apart: Mapping[str, str] | None = None
) -> Context:
    """Return the forgetting summary with a row per method.

    apart: methods that do not compare with the others, with the reason; they take no part in the front.
    `front` has the methods that no other one dominates, `places` the (bytes, quality) of the methods that have both
    and `spread` the standard deviation of this quality. `apart` has the methods of each reason. `missing` tells for
    `reference` and `costs` whether their lack leaves cells empty.
    """
    require_columns(forgetting, ["method", *SHOWN], "forgetting.csv")
    found = {str(row["method"]): row for row in forgetting.to_dict("records")}
    shown = [method for method in methods if method in found]
    places = {
        method: (float(found[method]["bytes_per_added_task"]), float(found[method]["relative_quality"]))
        for method in shown
    }

    def known(figure: str) -> bool:
        return any(math.isfinite(found[method][figure]) for method in shown)

    drawn = {m: place for m, place in places.items() if all(map(math.isfinite, place)) and place[0] > 0}
    reasons = {method: why for method, why in (apart or {}).items() if method in drawn}
    front = pareto_front({method: place for method, place in drawn.items() if method not in reasons})
    spread = {method: float(found[method].get("relative_quality_std", math.nan)) for method in drawn}
    return {
        "reference": REFERENCE,
        "rows": [{"method": m, "front": m in front, "cells": [*cells(found[m])]} for m in shown],
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
    """The figures of a method as the table shows them, with their deviation where there are several seeds."""
    for figure, (scale, digits, signed) in SHOWN.items():
        value, deviation = (scale * float(row.get(name, math.nan)) for name in (figure, f"{figure}_std"))
        yield {"text": number(value, digits, signed), "std": number(deviation, digits) if deviation else ""}


def number(value: float, digits: int, signed: bool = False) -> str:
    """A number as shown; empty where it is none."""
    if not math.isfinite(value):
        return ""
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    zero = not any(digit in text for digit in "123456789")
    return text.lstrip("+-") if zero else text.replace("-", "−")


def pareto_front(places: Mapping[str, tuple[float, float]]) -> list[str]:
    """Who is dominated by nobody, of (cost, quality) each: the lowest cost first, equal ones in their order.

    One dominates another if it costs no more and is no worse, and is not equal in both.
    """

    def dominated(place: tuple[float, float]) -> bool:
        return any(other != place and other[0] <= place[0] and other[1] >= place[1] for other in places.values())

    return sorted((name for name, place in places.items() if not dominated(place)), key=lambda n: places[n][0])
