"""Experiments on masks, each of which answers one question, and all together: why do masks work?

`snakemake explain` runs each experiment for every seed and task, and writes a page with the results. The functions
of the experiments are in `palimpsest.explaining.experiments`; this module imports no PyTorch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

MASKED = "piggyback"
"""Method whose masks the experiments change."""
FIXED = "batchnorm"
"""Method that trains normalisation and head over fixed weights."""


class Experiment(NamedTuple):
    """One experiment."""

    question: str
    with_base_task: bool = False
    """True if the experiment also learns the task that trained the base network."""


EXPERIMENTS: dict[str, Experiment] = {
    "dropped": Experiment("Which weights does a mask drop?"),
    "alike": Experiment("How much do masks have in common?"),
    "shorter": Experiment("Could masks be stored in less than one bit per weight?"),
    "kinds": Experiment("Do masks for translation drop more weights than masks for classification?"),
    "flipped": Experiment("How many bits may be wrong?"),
    "important": Experiment("How many zeros are needed?"),
    "signs": Experiment("Does a mask need the magnitudes of the weights?"),
    "rescaled": Experiment("Does the scale of the filters matter?"),
    "shuffled": Experiment("Is it the places of the zeros, or their number?"),
    "bases": Experiment("Which networks are a good base?", with_base_task=True),
    "parts": Experiment("What do mask, BatchNorm and head contribute?"),
    "exchanged": Experiment("Does a mask serve other tasks?"),
}
"""Experiments by name, in the order of the page."""


def experiments_of(sequence: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each experiment with each task of the sequence on which it runs."""
    for name, experiment in EXPERIMENTS.items():
        for task in sequence if experiment.with_base_task else sequence[1:]:
            yield name, task
