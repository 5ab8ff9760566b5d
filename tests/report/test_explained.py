"""Page of the experiments on masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from palimpsest.explaining import EXPERIMENTS, bases, bits, experiments_of, kinds, masks, parts
from palimpsest.report.explained import COLUMNS, FIGURES, SENTENCES, as_file, mean_at, write_page
from palimpsest.report.sweep import QUALITY

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
        *((masks.BY_MAGNITUDE, number + 1) for number in range(masks.CLASSES)),
        *((masks.BY_OFFSET, name) for name in masks.OFFSETS.values()),
    ],
    "kinds": [(case.condition, 1000 * case.factor) for case in kinds.CASES],
    "alike": [(name, "") for name in ("other", masks.SAME_TASK)],
    "shorter": [
        (name, "") for name in (masks.LAYERS, masks.BY_MAGNITUDE, masks.BY_SIGN, masks.BY_OFFSET, "mask of b")
    ],
    "flipped": [(name, share) for name in (bits.STORED, bits.RECOMPUTED) for share in bits.FLIPPED],
    "important": [
        (name, share)
        for name in (bits.BY_RETURN, bits.BY_REMOVAL, bits.LARGEST, bits.AT_RANDOM)
        for share in bits.KEPT
    ],
    "signs": [
        (name, base)
        for name in (bases.NEW_MASK, bases.OLD_MASK, bases.NO_MASK)
        for base in (bases.WEIGHTS, bases.SIGNS)
    ],
    "rescaled": [
        (name, filters)
        for name in (bases.LEARNED_BATCHNORM, bases.FIXED_BATCHNORM)
        for filters in (bases.AS_TRAINED, bases.RESCALED)
    ],
    "shuffled": [(name, "") for name in (bits.AS_LEARNED, bits.IN_FILTERS, bits.IN_LAYERS, bits.ONES)],
    "bases": [(name, "") for name in (*SEQUENCE, bases.UNTRAINED)],
    "parts": [(name, "") for name in parts.PARTS],
    "exchanged": [(name, "") for name in SEQUENCE],
}


METRICS = {"dropped": ("zeros",), "kinds": ("zeros",), "alike": ("similarity", "independent"), "shorter": ("bits",)}
"""Metrics of the experiments that measure no network."""


@pytest.fixture
def results() -> pd.DataFrame:
    """Return the table of all experiments, with random qualities for two seeds."""
    random = np.random.default_rng(0)
    rows = [
        (name, seed, task, condition, task if x == "" else x, metric, random.random())
        for seed in (0, 1)
        for name, task in experiments_of(SEQUENCE)
        for condition, x in ROWS[name]
        for metric in METRICS.get(name, ("miou", QUALITY))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_page_has_a_figure_and_a_sentence_for_each_question(results: pd.DataFrame, tmp_path: Path) -> None:
    write_page(results, CONDITIONS, tmp_path)
    page = (tmp_path / "why-it-works.md").read_text()
    assert "commit c0ffee1" in page
    for name, experiment in EXPERIMENTS.items():
        section = page.split(f"## {experiment.question}\n")[1].split("\n## ")[0]
        assert section.count(".svg)") == 1 and f"why-it-works/{name}.svg" in section
        sentence = section.split("\n\n")[0]
        assert sentence.endswith(".") and "nan" not in sentence
        assert (tmp_path / f"why-it-works/{name}.svg").stat().st_size > 1000


def test_sentences_have_the_means_over_tasks_and_seeds(results: pd.DataFrame) -> None:
    table = results[(results["metric"] == QUALITY) & (results["experiment"] == "parts")]
    quality = table.assign(value=100 * table["value"])
    expected = quality[quality["condition"] == "mask and head"]["value"].mean()
    assert mean_at(quality, "mask and head") == pytest.approx(expected)
    assert f"mask and head with the base's BatchNorm {expected:.0f} %" in SENTENCES["parts"](quality)


def test_the_sentence_on_bases_leaves_out_networks_of_the_task_itself() -> None:
    rows = [("a", "a", 100.0), ("b", "a", 10.0), ("a", "b", 50.0), ("b", "b", 100.0), (bases.UNTRAINED, "a", 5.0)]
    quality = pd.DataFrame(rows, columns=["condition", "task", "value"]).assign(x="")
    assert "`a` 50 %, `b` 10 %; over an untrained network they have 5 %" in SENTENCES["bases"](quality)


def test_equal_results_give_equal_figures(results: pd.DataFrame) -> None:
    for name in EXPERIMENTS:
        table = results[(results["metric"] != "miou") & (results["experiment"] == name)]
        assert as_file(FIGURES[name](table)) == as_file(FIGURES[name](table))


def test_the_similarity_of_masks_is_relative_to_independent_ones() -> None:
    rows = [
        (seed, task, condition, metric, value)
        for seed, more in ((0, 0.0), (1, 2.0))
        for task, condition, similarity in (("a", "b", 55), ("a", masks.SAME_TASK, 70))
        for metric, value in (("similarity", similarity + more), ("independent", 50.0))
    ]
    shares = pd.DataFrame(rows, columns=["seed", "task", "condition", "metric", "value"])
    sentence = SENTENCES["alike"](shares)
    assert "agree in 21.0 ± 12.7 percentage points more" in sentence  # t = 12.7 for two values, standard error 1
    assert "masks of two tasks in 6.0 ± 12.7 " in sentence and sentence.endswith("`b` and `a`, 6.0 points.")
