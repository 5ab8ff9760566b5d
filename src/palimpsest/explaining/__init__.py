"""Experiments on masks: why do they work? Each experiment answers one question.

`snakemake explain` runs each experiment for every seed and task, and writes a page with the results. This module
imports no PyTorch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

MASKED = "piggyback"
"""Method whose masks the experiments change."""
FIXED = "batchnorm"
"""Method that trains normalisation and head over fixed weights."""
COLUMNS = ["experiment", "seed", "task", "condition", "x", "metric", "value"]
"""Columns of the table of all experiments."""
QUALITY = "quality"
"""Metric of the quality relative to `scratch`."""


class Experiment(NamedTuple):
    """One experiment."""

    question: str
    path: str
    """``module:function``; the function takes a `Workbench` and yields `Row` or `Figures`."""
    trainings: int = 0
    """Number of trainings for one task, in a sequence of five."""
    with_base_task: bool = False
    """True if the experiment also learns the task that trained the base network."""
    modules: tuple[str, ...] = ()
    """Modules that the experiment imports by name; the digest of the code covers them."""


EXPERIMENTS: dict[str, Experiment] = {
    "dropped": Experiment("Which weights does a mask drop?", "palimpsest.explaining.masks:dropped", 1),
    "alike": Experiment("How much do masks have in common?", "palimpsest.explaining.masks:alike", 1),
    "shorter": Experiment(
        "Could masks be stored in less than one bit per weight?", "palimpsest.explaining.masks:shorter"
    ),
    "kinds": Experiment(
        "Do masks for translation drop more weights than masks for classification?",
        "palimpsest.explaining.kinds:kinds",
        12,
        modules=("palimpsest.tasks.classification", "palimpsest.networks.encoder"),
    ),
    "flipped": Experiment("How many bits may be wrong?", "palimpsest.explaining.bits:flipped"),
    "important": Experiment("How many zeros are needed?", "palimpsest.explaining.bits:important"),
    "signs": Experiment("Does a mask need the magnitudes of the weights?", "palimpsest.explaining.bases:signs", 6),
    "rescaled": Experiment("Does the scale of the filters matter?", "palimpsest.explaining.bases:rescaled", 4),
    "shuffled": Experiment(
        "Is it the places of the zeros, or their number?", "palimpsest.explaining.bits:shuffled", 5
    ),
    "bases": Experiment(
        "Which networks are a good base?", "palimpsest.explaining.bases:bases", 5, with_base_task=True
    ),
    "parts": Experiment("What do mask, BatchNorm and head contribute?", "palimpsest.explaining.parts:parts", 3),
    "exchanged": Experiment("Does a mask serve other tasks?", "palimpsest.explaining.parts:exchanged"),
}
"""Experiments by name, in the order of the page."""


def experiments_of(sequence: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each experiment with each task of the sequence on which it runs."""
    for name, experiment in EXPERIMENTS.items():
        for task in sequence if experiment.with_base_task else sequence[1:]:
            yield name, task
