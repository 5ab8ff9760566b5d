"""Page of the experiments on masks."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from palimpsest.explaining import COLUMNS, EXPERIMENTS, QUALITY, experiments_of, kinds, names
from palimpsest.report.chart import as_file
from palimpsest.report.experiment_figures import FIGURES, in_few_tasks
from palimpsest.report.experiment_sentences import SENTENCES, mean_at, shown, signed
from palimpsest.report.explained import write_page

SEQUENCE = ["coco-seg", "voc-seg", "colorize"]
CONDITIONS: dict[str, Any] = {
    "pictures": {"voc-seg": {"side": 64, "val": 80, "ignored": 0.0}},
    "steps": {"voc-seg": 240},
    "measured": [{"processor": "x", "instructions": "AVX2", "threads": "1"}],
    "trained": [{"processor": "x", "instructions": "AVX2", "threads": "1"}],
    "trained_in": ["32-true"],
    "commits": ["c0ffee1"],
    "libraries": {},
}
ROWS: dict[str, list[tuple[str, float | str]]] = {
    "dropped": [
        *(
            (condition, number + 1)
            for condition in (names.BY_MAGNITUDE, names.AFTER_EQUAL_START)
            for number in range(names.CLASSES)
        ),
        *((names.BY_OFFSET, name) for name in names.OFFSETS.values()),
    ],
    "kinds": [(case.condition, 1000 * case.factor) for case in kinds.CASES],
    "alike": [(names.SAME_TASK, "")],
    "shorter": [(name, "") for name in (names.LAYERS, names.BY_MAGNITUDE, names.BY_SIGN, names.BY_OFFSET)],
    "flipped": [(name, share) for name in (names.STORED, names.RECOMPUTED) for share in names.FLIPPED],
    "important": [
        (name, share)
        for name in (names.BY_RETURN, names.BY_REMOVAL, names.LARGEST, names.AT_RANDOM)
        for share in names.KEPT
    ],
    "signs": [
        (name, base)
        for name in (names.NEW_MASK, names.OLD_MASK, names.NO_MASK)
        for base in (names.WEIGHTS, names.SIGNS)
    ],
    "rescaled": [
        (name, filters)
        for name in (names.LEARNED_BATCHNORM, names.FIXED_BATCHNORM)
        for filters in (names.AS_TRAINED, names.RESCALED)
    ],
    "shuffled": [
        (name, "") for name in (names.AS_LEARNED, names.IN_FILTERS, names.IN_LAYERS, names.IN_CLASSES, names.ONES)
    ],
    "bases": [(names.UNTRAINED, "")],
    "parts": [(name, "") for name in names.PARTS],
    "exchanged": [(names.NO_MASK, "")],
}


METRICS = {
    "dropped": ("zeros",),
    "kinds": ("zeros", "score", "floor"),
    "alike": ("similarity", "independent"),
    "shorter": ("bits",),
}
"""Metrics of the experiments that measure no network."""


def rows_of(name: str, task: str, sequence: Sequence[str]) -> list[tuple[str, float | str]]:
    """Return condition and x of all rows of an experiment on a task."""
    earlier = sequence[1 : sequence.index(task)]
    others = {
        "alike": [*earlier],
        "shorter": [f"{names.EARLIER}{before}" for before in earlier],
        "bases": [*sequence],
        "exchanged": [*sequence[1:]],
    }
    return [*ROWS[name], *((condition, "") for condition in others.get(name, []))]


def table(sequence: Sequence[str] = SEQUENCE, seeds: Sequence[int] = (0, 1)) -> pd.DataFrame:
    """Return the table of all experiments with random shares, as read from its file."""
    random = np.random.default_rng(0)
    rows = [
        (name, seed, task, condition, task if x == "" else x, metric, random.random())
        for seed in seeds
        for name, task in experiments_of(sequence)
        for condition, x in rows_of(name, task, sequence)
        for metric in METRICS.get(name, ("miou", QUALITY))
    ]
    return pd.read_csv(io.StringIO(pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False)))


@pytest.fixture
def results() -> pd.DataFrame:
    """Return the table of all experiments for three tasks and two seeds."""
    return table()


@pytest.mark.parametrize(
    ("sequence", "seeds"), [(SEQUENCE, (0, 1)), (SEQUENCE[:2], (0,)), ([f"task-{n}" for n in range(9)], (0,))]
)
def test_the_page_has_a_figure_and_a_sentence_for_each_question(
    sequence: Sequence[str], seeds: Sequence[int], tmp_path: Path
) -> None:
    write_page(table(sequence, seeds), CONDITIONS, tmp_path)
    page = (tmp_path / "why-it-works.md").read_text()
    assert "commit c0ffee1" in page
    for name, experiment in EXPERIMENTS.items():
        section = page.split(f"## {experiment.question}\n")[1].split("\n## ")[0]
        assert section.count(".svg)") == 1 and f"why-it-works/{name}.svg" in section
        sentence = section.split("\n\n")[0]
        assert sentence.endswith(".") and "nan" not in sentence
        assert (tmp_path / f"why-it-works/{name}.svg").stat().st_size > 1000


def test_more_tasks_than_colours_are_shown_as_their_mean() -> None:
    many = table([f"task-{number}" for number in range(9)])
    rows = many[(many["experiment"] == "signs") & (many["metric"] == QUALITY)]
    shown = in_few_tasks(rows)
    assert set(shown["task"]) == {"mean of 8 tasks"} and len(shown) == len(rows) / 8
    assert shown["value"].mean() == pytest.approx(rows["value"].mean())
    few = many[many["task"].isin(["task-1", "task-2"])]
    assert in_few_tasks(few) is few


def test_sentences_have_the_means_over_tasks_and_seeds(results: pd.DataFrame) -> None:
    rows = results[(results["metric"] == QUALITY) & (results["experiment"] == "parts")]
    quality = rows.assign(value=100 * rows["value"])
    expected = quality[quality["condition"] == "mask and head"]["value"].mean()
    assert mean_at(quality, "mask and head") == pytest.approx(expected)
    assert f"mask and head with the base's BatchNorm {expected:.0f} %" in SENTENCES["parts"](quality)


def test_the_sentence_on_bases_leaves_out_networks_of_the_task_itself() -> None:
    rows = [("a", "a", 100.0), ("b", "a", 10.0), ("a", "b", 50.0), ("b", "b", 100.0), (names.UNTRAINED, "a", 5.0)]
    quality = pd.DataFrame(rows, columns=["condition", "task", "value"]).assign(x="", seed=0)
    sentence = SENTENCES["bases"](quality)
    assert "of other tasks have 30 % quality, over an untrained network 5 %" in sentence


def test_bases_are_compared_on_the_tasks_that_they_share() -> None:
    tasks = {"easy": 90.0, "middle": 80.0, "hard": 20.0}
    rows = [(base, task, value) for base in tasks for task, value in tasks.items()]
    quality = pd.DataFrame([*rows, (names.UNTRAINED, "easy", 5.0)], columns=["condition", "task", "value"])
    sentence = SENTENCES["bases"](quality.assign(x="", seed=0))
    assert all(f"`{base}` +0" in sentence for base in tasks)  # all bases are equally good


def test_equal_results_give_equal_figures(results: pd.DataFrame) -> None:
    for name in EXPERIMENTS:
        rows = results[(results["metric"] != "miou") & (results["experiment"] == name)]
        assert as_file(FIGURES[name](rows)) == as_file(FIGURES[name](rows))


def test_the_similarity_of_masks_is_relative_to_independent_ones() -> None:
    rows = [
        (seed, task, condition, metric, value)
        for seed, more in ((0, 0.0), (1, 2.0))
        for task, condition, similarity in (("a", "b", 55), ("a", names.SAME_TASK, 70))
        for metric, value in (("similarity", similarity + more), ("independent", 50.0))
    ]
    shares = pd.DataFrame(rows, columns=["seed", "task", "condition", "metric", "value"])
    sentence = SENTENCES["alike"](shares)
    assert "agree in 21.0 ± 12.7 percentage points more" in sentence  # t = 12.7 for two values, standard error 1
    assert "masks of two tasks in 6.0 ± 12.7; " in sentence and "`b` and `a`, 6.0 points. " in sentence
    again = pd.concat([shares, shares.assign(task="c")])  # more pairs of the same seeds
    assert "in 6.0 ± 12.7; " in SENTENCES["alike"](again)


@pytest.mark.parametrize(("value", "text"), [(-0.3, "0 %"), (-12.6, "−13 %"), (96.4, "96 %")])
def test_a_share_has_a_minus_sign_and_no_negative_zero(value: float, text: str) -> None:
    assert shown(value) == text


def test_a_difference_of_nothing_is_positive() -> None:
    assert [signed(value) for value in (-0.3, 0.3, -1.2)] == ["+0", "+0", "−1"]
