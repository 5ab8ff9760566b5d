"""What the report shows of the forgetting summary: its table, and quality against bytes with the Pareto front.

The figure is laid out here, and drawn by the template.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from palimpsest.analysis.accounting import MIB
from palimpsest.analysis.tables import require_columns
from palimpsest.analysis.transfer import REFERENCE
from palimpsest.report.chart import Axis, Mark, scatter, share_axis, steps_around

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
    forgetting: pd.DataFrame | None, methods: Sequence[str], apart: Mapping[str, str] | None = None
) -> Context | None:
    """The forgetting summary with a row per method, and the figure of it; None: not recorded.

    apart: methods that do not compare with the others, and why; they are shown, and take no part in the front.
    `front` are the methods that no other one dominates; `apart` says for each reason of whom it is true; `missing`
    says of `reference` and `costs` whether they are what makes cells empty.
    """
    if forgetting is None:
        return None
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
        "chart": chart(drawn, spread, front) if drawn else None,
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


def chart(places: Mapping[str, tuple[float, float]], spread: Mapping[str, float], front: Sequence[str]) -> Context:
    """The figure of (bytes, quality): x logarithmic, y linear; at least one place, all finite, bytes above zero."""
    marks = {
        name: Mark(
            cost,
            quality,
            f"{name}: {100 * quality:.1f} %, {size(cost)}",
            strong=name in front,
            deviation=spread[name] if math.isfinite(spread[name]) else 0.0,
        )
        for name, (cost, quality) in places.items()
    }
    ticks = byte_ticks([cost for cost, _ in places.values()])
    reach = [mark.y + sign * mark.deviation for mark in marks.values() for sign in (-1, 1)]
    room = (max(1.0, *reach) - min(1.0, *reach)) / 20  # for what stands beside the outermost
    return scatter(
        marks,
        Axis(
            "bytes per added task, needed to run (logarithmic)",
            {tick: size(tick) for tick in ticks},
            logarithmic=True,
        ),
        share_axis(
            f"final quality (% of {REFERENCE})", [1.0, *(end + sign * room for end in reach for sign in (-1, 1))]
        ),
        says=f"Final quality in per cent of {REFERENCE} against bytes per added task. "
        f"On the Pareto front: {', '.join(front) or 'none'}.",
        level=1.0,
        lines=[[*staircase([places[name] for name in front], ticks[-1])]] if front else [],
    )


def byte_ticks(values: Sequence[float]) -> list[float]:
    """Powers of two around all values, at most nine, at equal distances on a logarithmic axis."""
    low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
    step = max(1, math.ceil((high - low) / 7))
    return [2.0**power for power in steps_around(low, high, step)]


def size(count: float) -> str:
    """Bytes in the unit that suits them, with three significant digits at most."""
    unit, name = next(((u, n) for u, n in ((MIB, "MiB"), (1024, "KiB")) if count >= u), (1, "B"))
    value = count / unit
    return f"{value:,.{0 if value >= 100 else 1}f}".removesuffix(".0") + f" {name}"


def staircase(front: Sequence[tuple[float, float]], end: float) -> Iterator[tuple[float, float]]:
    """The corners of the line of a front: what lies below and to the right of it is dominated."""
    yield front[0]
    for (_, quality), (cost, better) in pairwise(front):
        yield cost, quality
        yield cost, better
    yield end, front[-1][1]
