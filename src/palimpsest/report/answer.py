"""Answer of a run in three sentences: quality of a method with masks, its bytes, and what is forgotten.

The figures are those of `forgetting.csv`, rounded as in its table on the page. Welch's test over the seeds decides
what the sentences say about the order of methods; with one seed they say nothing about it.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from palimpsest.analysis.significance import LEVEL, p_value
from palimpsest.analysis.tables import Outcome
from palimpsest.analysis.transfer import quality_figures
from palimpsest.methods import METHODS
from palimpsest.report.tradeoff import COLUMN_FORMATS, deviation_of, format_number
from palimpsest.settings import REFERENCE

MASKS = "piggyback"
"""Method that the answer is about, if the run has it."""
OTHER = "fine-tune"
"""Method that it is compared with, beside `scratch`."""

Rows = Mapping[str, Mapping[Any, Any]]
"""Rows of `forgetting.csv` by method."""
Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""Numbers per seed, by method and name of the figure."""


def answer(
    forgetting: pd.DataFrame,
    quality: pd.DataFrame,
    sequence: Sequence[tuple[str, str]],
    methods: Sequence[str],
    outcomes: Mapping[str, Outcome | None],
) -> list[str]:
    """Return up to three sentences; a sentence whose figures were not measured is left out.

    forgetting, quality: the tables of these names. sequence: (task, kind) in the order of learning. methods: in the
    order of the tables. outcomes: by method, the comparison of its predictions with those right after training.
    """
    rows = {str(row["method"]): row for row in forgetting.to_dict("records")}
    method = next((name for name in (MASKS, *methods) if name in rows and is_candidate(name)), None)
    if method is None or len(sequence) < 2:
        return []
    by_seed = {
        name: {figure: [seed[figure] for seed in seeds.values()] for figure in next(iter(seeds.values()))}
        for name, seeds in quality_figures(quality, sequence).items()
    }
    sentences = [
        sentence_on_quality(rows, by_seed, method, len(sequence) - 1),
        sentence_on_bytes(rows, method),
        sentence_on_forgetting(rows, by_seed, method, outcomes.get(method)),
    ]
    return [sentence.replace(" %", "\N{NO-BREAK SPACE}%") for sentence in sentences if sentence]


def is_candidate(method: str) -> bool:
    """Return whether the answer can be about a method: one that learns a task at a time from others."""
    entry = METHODS.get(method)
    return method not in (REFERENCE, OTHER) and not (entry and (entry.together or entry.starts_from == "nothing"))


def sentence_on_quality(rows: Rows, by_seed: Figures, method: str, added: int) -> str:
    """Return the sentence on quality right after training, in per cent of that of `scratch`.

    added: number of tasks after the first.
    """
    figure = "forward_transfer"
    quality = {name: value for name in (method, OTHER) if (value := text_of(rows, name, figure, origin=100.0))}
    if method not in quality:
        return ""
    tasks = "the added task" if added == 1 else f"the {added} added tasks"
    sentence = f"Right after training on {tasks}, {method} reaches {quality[method]} %"
    reference = f"of the quality of {REFERENCE}, a network trained for each task from random weights"
    of_reference, of_other = (compared(by_seed, figure, *pair) for pair in ((method, REFERENCE), (OTHER, method)))
    if not of_reference:
        both = f" and {OTHER} {quality[OTHER]} %" if OTHER in quality else ""
        return f"{sentence}{both} {reference}; figures of one seed do not order methods."
    both = f"; {OTHER} reaches {quality[OTHER]} %, {of_other} {method}" if of_other else ""
    return f"{sentence} {reference}, {of_reference} {REFERENCE}{both}."


def sentence_on_bytes(rows: Rows, method: str) -> str:
    """Return the sentence on the bytes that an added task needs."""
    figure = "bytes_per_added_task"
    size = {name: value for name in (method, REFERENCE, OTHER) if (value := text_of(rows, name, figure))}
    if method not in size:
        return ""
    sentence = f"An added task takes {size[method]} KiB with {method}"
    if REFERENCE in size:
        share = 100 * float(rows[method][figure]) / float(rows[REFERENCE][figure])
        sentence += f", {format_number(share, 1)} % of the {size[REFERENCE]} KiB of {REFERENCE}"
    if OTHER in size:
        sentence += f", and {size[OTHER]} KiB with {OTHER}, which has one network for all tasks"
    return f"{sentence}."


def sentence_on_forgetting(rows: Rows, by_seed: Figures, method: str, outcome: Outcome | None) -> str:
    """Return the sentence on the change of earlier tasks through later trainings."""
    figure = "backward_transfer"
    change = {name: value for name in (OTHER, method) if (value := text_of(rows, name, figure))}
    if method not in change:
        return ""
    changes = " and by ".join(f"{change[name]} points with {name}" for name in change)
    test = compared(by_seed, figure, OTHER, method)
    checked = {
        "verified": f"all predictions of {method} equal those right after training, bit for bit",
        "changed": f"predictions of {method} have changed",
        "not comparable": f"machine or libraries have changed, so that predictions of {method} are not compared",
    }
    clauses = [
        f"After the last task, the quality of the earlier tasks has changed by {changes}",
        f"{OTHER} is {test} {method}" if test else "",
        checked[outcome] if outcome else "",
    ]
    return "; ".join(clause for clause in clauses if clause) + "."


def compared(by_seed: Figures, figure: str, method: str, other: str) -> str:
    """Return the result of Welch's test between two methods in a figure of which more is better.

    The name of the other method has to follow: `significantly worse (p = 0.02) than`. The text is empty for fewer
    than two seeds.
    """
    samples = [by_seed.get(name, {}).get(figure, ()) for name in (method, other)]
    p = p_value(*samples)
    if math.isnan(p):
        return ""
    probability = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    if p >= LEVEL:
        return f"not significantly different ({probability}) from"
    order = "worse" if statistics.fmean(samples[0]) < statistics.fmean(samples[1]) else "better"
    return f"significantly {order} ({probability}) than"


def text_of(rows: Rows, method: str, figure: str, *, origin: float = 0.0) -> str:
    """Return a figure with its deviation as in the table, plus `origin`; empty if it was not measured."""
    row = rows.get(method, {})
    scale, digits, signed = COLUMN_FORMATS[figure]
    value, deviation = float(row.get(figure, math.nan)), deviation_of(row, figure)
    text = format_number(origin + scale * value, digits, signed and not origin)
    spread = format_number(scale * deviation, digits) if text and deviation else ""
    return f"{text} ± {spread}" if spread else text
