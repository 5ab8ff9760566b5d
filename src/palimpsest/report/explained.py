"""Page of the experiments on masks, from the table of all results: a figure and a sentence for each question."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from palimpsest.analysis.conditions import describe_conditions
from palimpsest.explaining import EXPERIMENTS, QUALITY
from palimpsest.report.chart import Chart, as_file, as_svg, identifier
from palimpsest.report.experiment_figures import FIGURES, LIMITS, in_few_tasks
from palimpsest.report.experiment_sentences import SENTENCES, shown
from palimpsest.storage.atomic import write_bytes, write_text

PAGE = "why-it-works.md"
IN_PER_CENT = (QUALITY, "zeros", "similarity", "independent", "bits", "score", "floor")
"""Metrics that the page shows; they are shares."""


def write_page(results: pd.DataFrame, conditions: Mapping[str, Any], destination: Path) -> None:
    """Write the page `PAGE` into a folder, and its figures into a subfolder.

    results: table with the columns `palimpsest.explaining.COLUMNS`. conditions: those of `collect_conditions`.
    """
    low, high = map(shown, LIMITS)
    parts_of_page = [INTRODUCTION.format(conditions=describe_conditions(conditions), low=low, high=high)]
    for answer in answers(results):
        figure_path = Path(PAGE).stem + f"/{answer.name}.svg"
        write_bytes(destination / figure_path, as_file(answer.figure))
        question = f"## {answer.question}\n\n{answer.sentence}\n\n"
        parts_of_page.append(f"{question}![{answer.question}]({figure_path})\n")
    write_text(destination / PAGE, "\n".join(parts_of_page))


class Answer(NamedTuple):
    """Answer of one experiment to its question."""

    name: str
    """Name of the experiment."""
    question: str
    sentence: str
    """Sentence with the numbers, as Markdown."""
    figure: Figure


def answers(results: pd.DataFrame) -> Iterator[Answer]:
    """Yield the answer of each experiment that has results; for ``results`` see `write_page`."""
    for name, experiment in EXPERIMENTS.items():
        rows = results[(results["experiment"] == name) & results["metric"].isin(IN_PER_CENT)]
        if len(rows):
            shares = rows.assign(value=100 * rows["value"])
            yield Answer(name, experiment.question, SENTENCES[name](shares), FIGURES[name](in_few_tasks(shares)))


def answer_charts(results: pd.DataFrame) -> list[tuple[Answer, Markup, Chart]]:
    """Return each answer with its sentence as HTML and its figure for the report."""
    return [
        (
            answer,
            Markup(re.sub(r"`(.*?)`", r"<code>\1</code>", str(escape(answer.sentence)))),
            Chart(as_svg(answer.figure, identifier("explain", answer.name), []), answer.question),
        )
        for answer in answers(results)
    ]


INTRODUCTION = """# Why masks work

`snakemake explain` runs these experiments on the masks of `piggyback`, and writes this page with the figures.
Quality is relative to a separate network: 0 % is the trivial baseline of a task, 100 % the network that `scratch`
trains for it. Numbers in the sentences are means over tasks and seeds. Bands and bars of quality are one standard
deviation over the seeds, if there are several. In the figures, quality below {low} is drawn at {low}, and above
{high} at {high}.

{conditions}
"""
