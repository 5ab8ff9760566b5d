import math

import pandas as pd
import pytest

from palimpsest.analysis.tables import Outcome
from palimpsest.analysis.transfer import forgetting_table, quality_table
from palimpsest.report.answer import answer
from palimpsest.report.tradeoff import COLUMN_FORMATS, summary_table
from tests.report.conftest import COLUMNS

SEQUENCE = [("shapes", "segmentation"), ("halves", "segmentation")]
METHODS = ["scratch", "fine-tune", "piggyback"]
LEARNED = {"scratch": 80.0, "fine-tune": 82.0, "piggyback": 70.0}
BYTES = {"scratch": 4096 * 1024, "fine-tune": 16 * 1024, "piggyback": 128 * 1024}
OUTCOMES: dict[str, Outcome | None] = {"scratch": "verified", "fine-tune": "changed", "piggyback": "verified"}
COLUMN = dict(zip(COLUMN_FORMATS, range(len(COLUMN_FORMATS)), strict=True))


def tables(seeds: int, methods: list[str], spread: float = 1.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return forgetting.csv and quality.csv; the values of `halves` differ by `spread` between seeds."""
    rows: list[tuple[object, ...]] = []
    for seed in range(seeds):
        rows += [(seed, "floor", task, task, "miou", 10.0) for task, _ in SEQUENCE]
        for number, method in enumerate(methods):
            left = 30.0 + seed if method == "fine-tune" else 90.0
            halves = LEARNED[method] + spread * (seed if number % 2 else -seed)
            rows += [
                (seed, method, "shapes", "shapes", "miou", 90.0),
                (seed, method, "shapes", "halves", "miou", left),
            ]
            rows += [(seed, method, "halves", "halves", "miou", halves)]
    metrics = pd.DataFrame(rows, columns=COLUMNS[:6]).assign(images=2, checksum="", std_error=0.0)
    grown = [
        (seed, method, task, "run", number * BYTES[method])
        for seed in range(seeds)
        for method in methods
        for number, (task, _) in enumerate(SEQUENCE)
    ]
    growth = pd.DataFrame(grown, columns=["seed", "method", "task", "needed_to", "bytes"])
    costs = pd.DataFrame(columns=["seed", "method", "task", "seconds", "peak_memory"])
    quality = quality_table(metrics, SEQUENCE)
    return forgetting_table(quality, growth, costs, SEQUENCE, methods), quality


def answered(seeds: int, methods: list[str] = METHODS, spread: float = 1.0) -> list[str]:
    """Return the sentences with ordinary spaces."""
    sentences = answer(*tables(seeds, methods, spread), SEQUENCE, methods, OUTCOMES)
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in sentences]


def test_one_seed_gives_figures_and_no_order() -> None:
    # quality of halves: (70 - 10) / (80 - 10) = 85.7 %, (82 - 10) / 70 = 102.9 %; shapes: (30 - 90) / 80 = -0.75
    assert answered(1) == [
        "Right after training on the added task, piggyback reaches 85.7 % and fine-tune 102.9 % of the quality of "
        "scratch, a network trained for each task from random weights; figures of one seed do not order methods.",
        "An added task takes 128.0 KiB with piggyback, 3.1 % of the 4,096.0 KiB of scratch, and 16.0 KiB with "
        "fine-tune, which has one network for all tasks.",
        "After the last task, the quality of the earlier tasks has changed by −75.0 points with fine-tune and by "
        "0.0 points with piggyback; all predictions of piggyback equal those right after training, bit for bit.",
    ]


def test_welchs_test_decides_the_verb() -> None:
    quality, _, forgetting = answered(3)
    assert "weights, significantly worse (p < 0.001) than scratch; fine-tune reaches" in quality
    assert "%, significantly better (p = " in quality and quality.endswith(") than piggyback.")
    assert "fine-tune is significantly worse (p < 0.001) than piggyback" in forgetting
    noisy, *_ = answered(3, spread=15.0)
    assert noisy.endswith(
        "fine-tune reaches 172.0 ± 77.0 %, not significantly different (p = 0.18) from piggyback."
    )


def test_every_figure_is_that_of_the_table() -> None:
    forgetting, _ = tables(3, METHODS)
    rows = {row["method"]: row["cells"] for row in summary_table(forgetting, METHODS)["rows"]}

    def cell(method: str, figure: str) -> str:
        entry = rows[method][COLUMN[figure]]
        return entry["text"] + f" ± {entry['std']}" * bool(entry["std"])

    on_quality, on_bytes, on_change = answered(3)
    for method in ("fine-tune", "piggyback"):
        text, _, deviation = cell(method, "forward_transfer").partition(" ± ")
        percent = 100 + float(text.replace("−", "-"))
        assert f"{percent:.1f} ± {deviation} %" in on_quality
        assert f"{cell(method, 'bytes_per_added_task')} KiB" in on_bytes
        assert f"{cell(method, 'backward_transfer')} points with {method}" in on_change
    assert f"of the {cell('scratch', 'bytes_per_added_task')} KiB of scratch" in on_bytes


@pytest.mark.parametrize(
    ("outcome", "clause"),
    [
        ("changed", "; predictions of piggyback have changed."),
        (
            "not comparable",
            "; machine or libraries have changed, so that predictions of piggyback are not compared.",
        ),
        (None, "by 0.0 points with piggyback."),
    ],
)
def test_unverified_predictions_are_not_called_equal(outcome: Outcome | None, clause: str) -> None:
    *_, sentence = answer(*tables(1, METHODS), SEQUENCE, METHODS, {"piggyback": outcome})
    assert sentence.endswith(clause)


def test_without_masks_the_answer_is_about_the_first_other_method() -> None:
    forgetting, quality = tables(1, METHODS)
    for table in (forgetting, quality):
        table["method"] = table["method"].replace("piggyback", "ewc")
    sentences = answer(forgetting, quality, SEQUENCE, ["scratch", "fine-tune", "ewc"], {})
    assert len(sentences) == 3 and all("ewc" in sentence for sentence in sentences)


def test_methods_that_were_not_measured_are_not_named() -> None:
    on_quality, on_bytes, on_change = answered(1, ["scratch", "piggyback"])
    assert not any("fine-tune" in sentence for sentence in (on_quality, on_bytes, on_change))
    assert "piggyback reaches 85.7 % of the quality of scratch" in on_quality
    assert answered(1, ["scratch", "fine-tune"]) == []
    forgetting, quality = tables(1, METHODS)
    forgetting["forward_transfer"] = math.nan  # as without scratch
    assert len(answer(forgetting, quality, SEQUENCE, METHODS, OUTCOMES)) == 2
