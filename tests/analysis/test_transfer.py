import math

import numpy as np
import pandas as pd
import pytest

from palimpsest.analysis.tables import columns_of
from palimpsest.analysis.transfer import (
    comparison_table,
    error_of_quality,
    forgetting_table,
    quality,
    quality_figures,
    quality_table,
    scored_tasks,
)
from palimpsest.errors import DataError
from palimpsest.metrics.described import describe

SEQUENCE = [("seg", "segmentation"), ("colour", "colorization")]
METHODS = ["scratch", "fine-tune", "piggyback"]
KEYS = {"seg": "miou", "colour": "ciede2000", "style": "total_loss"}


def metric_table(*cells, seed=0, std_error=0.5):
    rows = [
        [seed, method, task, after, KEYS[task], value, 9, "", std_error] for method, task, after, value in cells
    ]
    return pd.DataFrame(rows, columns=columns_of("metrics"))


def growth_table(*rows, seed=0):
    rows = [[seed, *row] for row in rows]
    return pd.DataFrame(rows, columns=["seed", "method", "task", "needed_to", "bytes"])


def cost_table(*rows, seed=0):
    return pd.DataFrame(
        [[seed, *row] for row in rows], columns=["seed", "method", "task", "seconds", "peak_memory"]
    )


@pytest.fixture
def metrics():
    return metric_table(
        ("floor", "seg", "seg", 8.0),
        ("floor", "colour", "colour", 20.0),
        ("scratch", "seg", "seg", 80.0),
        ("scratch", "seg", "colour", 80.0),
        ("scratch", "colour", "colour", 10.0),
        ("fine-tune", "seg", "seg", 80.0),
        ("fine-tune", "seg", "colour", 20.0),
        ("fine-tune", "colour", "colour", 8.0),
        ("piggyback", "seg", "seg", 80.0),
        ("piggyback", "seg", "colour", 80.0),
        ("piggyback", "colour", "colour", 12.5),
    )


@pytest.fixture
def growth():
    return growth_table(
        ("scratch", "seg", "run", 1000),
        ("scratch", "seg", "learn", 0),
        ("scratch", "colour", "run", 2000),
        ("scratch", "colour", "learn", 0),
        ("fine-tune", "seg", "run", 1000),
        ("fine-tune", "seg", "learn", 600),
        ("fine-tune", "colour", "run", 1100),
        ("fine-tune", "colour", "learn", 900),
    )


@pytest.fixture
def costs():
    return cost_table(
        ("scratch", "seg", 50.0, 900.0),
        ("scratch", "colour", 30.0, 700.0),
        ("fine-tune", "colour", 31.0, 701.0),
    )


def figures_of(method, metrics, sequence=SEQUENCE, growth=None, costs=None):
    """Return the figures of one method in `forgetting.csv`."""
    growth, costs = (growth_table() if growth is None else growth), (cost_table() if costs is None else costs)
    return row(forgetting_table(quality_table(metrics, sequence), growth, costs, sequence, [method]), method)


def row(table, method):
    return table.set_index("method").loc[method].to_dict()


def test_every_figure_of_two_tasks_and_three_methods_by_hand(metrics, growth, costs):
    table = forgetting_table(
        quality_table(metrics, SEQUENCE), growth, costs, SEQUENCE, ["floor", *METHODS, "never-run"]
    )
    assert table["method"].tolist() == METHODS
    assert row(table, "scratch") == pytest.approx(
        {
            "final_quality": 1.0,
            "final_quality_error": 0.0,
            "backward_transfer": 0.0,
            "forward_transfer": 0.0,
            "excess_loss": math.nan,
            "bytes_per_added_task": 1000.0,
            "learn_bytes": 0.0,
            "seconds": 30.0,
            "peak_memory": 700.0,
            "final_quality_best": False,
        },
        nan_ok=True,
    )
    segmentation, colour = (20 - 8) / (80 - 8), (8 - 20) / (10 - 20)
    errors = [0.5 * math.hypot(1, segmentation) / 72, 0.5 * math.hypot(1, colour) / 10]
    assert row(table, "fine-tune") == pytest.approx(
        {
            "final_quality": (segmentation + colour) / 2,
            "final_quality_error": math.hypot(*errors) / 2,
            "backward_transfer": segmentation - 1,
            "forward_transfer": colour - 1,
            "excess_loss": math.nan,
            "bytes_per_added_task": 100.0,
            "learn_bytes": 900.0,
            "seconds": 31.0,
            "peak_memory": 701.0,
            "final_quality_best": False,
        },
        nan_ok=True,
    )
    piggyback = row(table, "piggyback")
    assert piggyback["final_quality"] == pytest.approx((1 + 0.75) / 2)
    assert (piggyback["backward_transfer"], piggyback["forward_transfer"]) == pytest.approx((0.0, -0.25))
    assert all(math.isnan(piggyback[name]) for name in table.columns[6:-1])  # neither stored nor timed


def test_the_best_final_quality_over_seeds_is_marked_on_each_network(metrics):
    of_seeds = {"scratch": (10.0, 10.1, 9.9), "ewc": (10.2, 10.0, 10.1), "lwf": (15.0, 15.1, 14.9)}
    tables = []
    for seed in range(3):
        rows = [("floor", "colour", "colour", 20.0), ("resblock6", "colour", "colour", 18.0 + seed)]
        rows += [(method, "colour", "colour", values[seed]) for method, values in of_seeds.items()]
        tables.append(metric_table(*rows, seed=seed))
    methods = [*of_seeds, "resblock6"]
    quality_of_tasks = quality_table(pd.concat(tables), [SEQUENCE[1]])
    table = forgetting_table(quality_of_tasks, growth_table(), cost_table(), [SEQUENCE[1]], methods)
    marked = table.set_index("method")["final_quality_best"].to_dict()
    assert marked == {"scratch": True, "ewc": True, "lwf": False, "resblock6": False}  # alone on its network


def test_an_untrained_answer_has_no_quality_and_scratch_has_all(metrics):
    nothing = metric_table(
        ("idle", "seg", "seg", 8.0), ("idle", "seg", "colour", 8.0), ("idle", "colour", "colour", 20.0)
    )
    figures = figures_of("idle", pd.concat([metrics, nothing]))
    assert (figures["final_quality"], figures["forward_transfer"]) == (0.0, -1.0)
    assert figures_of("scratch", metrics)["final_quality"] == 1.0


def test_losses_are_compared_by_their_logarithms_and_have_an_excess():
    style = [("style", "style")]
    metrics = metric_table(
        ("floor", "style", "style", 20.0),
        ("scratch", "style", "style", 0.2),
        ("ewc", "style", "style", 0.3),
        ("bad", "style", "style", 2.0),
        std_error=0.01,
    )
    ewc, bad = (figures_of(method, metrics, style) for method in ("ewc", "bad"))
    assert ewc["final_quality"] == pytest.approx(math.log(20 / 0.3) / math.log(100))
    assert bad["final_quality"] == pytest.approx(0.5)  # a linear scale would give 0.91
    assert (ewc["excess_loss"], bad["excess_loss"]) == pytest.approx((0.5, 9.0))
    assert bad["final_quality_error"] == pytest.approx(math.hypot(0.01 / 2, 0.5 * 0.01 / 0.2) / math.log(100))


def test_the_tasks_of_each_mean():
    sequence = [*SEQUENCE, ("style", "style")]
    metrics = metric_table(
        ("floor", "seg", "seg", 20.0),
        ("floor", "colour", "colour", 30.0),
        ("floor", "style", "style", 16.0),
        ("scratch", "seg", "seg", 80.0),
        ("scratch", "colour", "colour", 10.0),
        ("scratch", "style", "style", 2.0),
        ("ewc", "seg", "seg", 68.0),  # first task, so no forward transfer
        ("ewc", "seg", "colour", 1.0),
        ("ewc", "seg", "style", 50.0),
        ("ewc", "colour", "colour", 8.0),
        ("ewc", "colour", "style", 20.0),
        ("ewc", "style", "style", 4.0),
    )
    growth = growth_table(("ewc", "seg", "run", 100), ("ewc", "colour", "run", 900), ("ewc", "style", "run", 160))
    costs = cost_table(("ewc", "seg", 99.0, 999.0), ("ewc", "colour", 20.0, 300.0), ("ewc", "style", 40.0, 200.0))
    figures = figures_of("ewc", metrics, sequence, growth, costs)
    assert figures["final_quality"] == pytest.approx((0.5 + 0.5 + 2 / 3) / 3)
    assert figures["backward_transfer"] == pytest.approx(((0.5 - 0.8) + (0.5 - 1.1)) / 2)
    assert figures["forward_transfer"] == pytest.approx((0.1 - 1 / 3) / 2)
    assert figures["excess_loss"] == pytest.approx(1.0)
    assert (figures["bytes_per_added_task"], figures["seconds"], figures["peak_memory"]) == (30.0, 30.0, 300.0)


def test_the_base_task_counts_as_much_as_any_task_in_final_quality(metrics):
    kept = figures_of("fine-tune", metrics)
    lost = metrics.assign(value=metrics["value"].mask(metrics["value"] == 20.0, 8.0))
    lost["value"] = lost["value"].mask((lost["method"] == "floor") & (lost["task"] == "colour"), 20.0)
    gone = figures_of("fine-tune", lost)
    assert kept["final_quality"] - gone["final_quality"] == pytest.approx(12 / 72 / 2)
    assert (gone["backward_transfer"], gone["forward_transfer"]) == (-1.0, kept["forward_transfer"])


@pytest.mark.parametrize("floor", [5.0, 10.0, math.nan])
def test_a_task_in_which_scratch_is_no_better_than_the_baseline_does_not_count(metrics, floor):
    colour = (metrics["method"] == "floor") & (metrics["task"] == "colour")
    metrics["value"] = metrics["value"].mask(colour, floor)
    table = quality_table(metrics, SEQUENCE)
    assert table[table["task"] == "colour"][["learned", "final", "error"]].isna().all(axis=None)
    figures = figures_of("fine-tune", metrics)
    assert figures["final_quality"] == pytest.approx((20 - 8) / (80 - 8))
    assert math.isnan(figures["forward_transfer"])


def test_a_task_counts_for_all_seeds_or_for_none(metrics):
    second = metrics.assign(seed=1, value=metrics["value"].mask(metrics["value"] == 10.0, 21.0))
    figures = quality_figures(quality_table(pd.concat([metrics, second]), SEQUENCE), SEQUENCE)
    assert [figures["piggyback"][seed]["final_quality"] for seed in (0, 1)] == [1.0, 1.0]


def test_shared_bytes_for_training_do_not_count_per_task(metrics):
    fisher = [("fine-tune", task, "learn", 800) for task in ("seg", "colour")]
    network = [("fine-tune", task, "run", 1000) for task in ("seg", "colour")]
    figures = figures_of("fine-tune", metrics, growth=growth_table(*fisher, *network))
    assert (figures["bytes_per_added_task"], figures["learn_bytes"]) == (0.0, 800.0)


def test_without_scratch_no_quality_is_known(metrics, growth, costs):
    figures = figures_of("fine-tune", metrics[metrics["method"] != "scratch"], growth=growth, costs=costs)
    assert all(math.isnan(figures[name]) for name in ("final_quality", "forward_transfer", "backward_transfer"))
    assert figures["bytes_per_added_task"] == 100.0


def test_without_records_time_and_memory_are_unknown(metrics, growth):
    table = forgetting_table(quality_table(metrics, SEQUENCE), growth, cost_table(), SEQUENCE, METHODS)
    assert table[["seconds", "peak_memory"]].isna().all(axis=None)
    assert table["final_quality"].notna().all()


def test_a_mean_needs_values_of_all_tasks(metrics):
    sequence = [*SEQUENCE, ("style", "style")]
    styles = [
        (method, "style", "style", value)
        for method, value in (("floor", 9.0), ("scratch", 2.0), ("fine-tune", 2.0))
    ]
    extended = pd.concat([metrics, metric_table(*styles)])
    figures = figures_of("fine-tune", extended, sequence, costs=cost_table(("fine-tune", "style", 9.0, 9.0)))
    assert math.isnan(figures["final_quality"])  # seg and colour were not measured after style
    assert math.isnan(figures["seconds"]) and math.isnan(figures["peak_memory"])
    assert figures["forward_transfer"] == pytest.approx((0.2 + 0) / 2)


def test_each_seed_is_relative_to_its_scratch_and_seeds_have_a_deviation(metrics, growth, costs):
    second = metrics.assign(seed=1, value=metrics["value"].mask(metrics["value"] == 10.0, 14.0))
    quality_of_seeds = quality_table(pd.concat([metrics, second]), SEQUENCE)
    growth = pd.concat([growth, growth.assign(seed=1)])
    table = forgetting_table(quality_of_seeds, growth, costs, SEQUENCE, METHODS)
    figures = row(table, "fine-tune")
    assert list(table)[1:6] == [
        "final_quality",
        "final_quality_std",
        "final_quality_error",
        "backward_transfer",
        "backward_transfer_std",
    ]
    assert figures["final_quality"] == pytest.approx((12 / 72 + (1.2 + 2.0) / 2) / 2)
    assert figures["final_quality_std"] == pytest.approx(0.8 / 2 / math.sqrt(2))
    assert (figures["backward_transfer"], figures["backward_transfer_std"]) == pytest.approx((12 / 72 - 1, 0.0))
    assert figures["seconds"] == 31.0 and math.isnan(figures["seconds_std"])  # one seed was timed


def test_a_method_measured_after_the_last_task_alone_has_a_final_quality(metrics):
    joint = metric_table(("joint", "seg", "colour", 71.0), ("joint", "colour", "colour", 15.0))
    figures = figures_of("joint", pd.concat([metrics, joint]))
    assert figures["final_quality"] == pytest.approx((63 / 72 + 5 / 10) / 2)
    assert math.isnan(figures["backward_transfer"])


def test_a_single_task_has_a_final_quality_and_no_transfer(metrics):
    only = metrics[metrics["task"] == metrics["after"]].query("task == 'seg'")
    quality_of_task = quality_table(only, SEQUENCE[:1])
    table = forgetting_table(quality_of_task, growth_table(), cost_table(), SEQUENCE[:1], METHODS)
    assert table["method"].tolist() == METHODS
    assert table["final_quality"].tolist() == [1.0, 1.0, 1.0]
    assert (
        table.drop(columns=["method", "final_quality", "final_quality_error", "final_quality_best"])
        .isna()
        .all(axis=None)
    )


def test_pairs_of_methods_on_one_network_are_compared_over_seeds(metrics):
    values = {"resblock6": (11.0, 11.2, 10.8), "resblock9": (15.0, 15.2, 14.8), "ewc": (15.1, 14.9, 15.0)}
    tables = [
        metric_table(
            *((m, "seg", "seg", 40.0) for m in values),
            *((m, "seg", "colour", 40.0) for m in values),
            *((m, "colour", "colour", of_seeds[seed]) for m, of_seeds in values.items()),
            seed=seed,
        )
        for seed in range(3)
    ]
    tables += [metrics.assign(seed=seed) for seed in range(3)]
    methods = ["scratch", *values]
    table = comparison_table(quality_table(pd.concat(tables), SEQUENCE), methods)
    assert set(zip(table["method"], table["other"], strict=True)) == {
        ("scratch", "ewc"),
        ("resblock6", "resblock9"),
    }
    cell = table.set_index(["task", "stage", "method"]).loc[("colour", "final", "resblock6")]
    assert cell["difference"] == pytest.approx(0.4) and cell["p"] < 0.001
    assert table.set_index(["task", "stage", "method"]).loc[("seg", "final", "resblock6"), "p"] == 1.0
    whole = table.set_index(["task", "stage", "method"]).loc[("all", "final", "resblock6")]
    assert whole["difference"] == pytest.approx(0.2)
    alone = comparison_table(quality_table(metrics, SEQUENCE), METHODS)
    assert alone["p"].isna().all() and len(alone) == 3 * 5


def test_the_metric_that_scores_a_task():
    every = ["ssim", "mse", "ciede2000", "miou", "iou/sky", "total_loss", "content_loss", "psnr"]
    table = pd.DataFrame([{"task": "t", "metric": name} for name in every])
    for kind, name in {
        "segmentation": "miou",
        "colorization": "ciede2000",
        "style": "total_loss",
        "paired": "ssim",
    }.items():
        assert [scored.column for scored in scored_tasks(table, [("t", kind)])] == [name]
    assert scored_tasks(table[table["metric"] == "psnr"], [("t", "own-kind")]) == []  # neither better nor worse
    without = table[table["metric"] != "ciede2000"]
    assert scored_tasks(without, [("t", "colorization")])[0].column == "ssim"


@pytest.mark.parametrize(
    ("metric", "value", "floor", "reference", "expected"),
    [
        ("miou", 30.0, 10.0, 50.0, 0.5),
        ("miou", 0.0, 10.0, 50.0, -0.25),
        ("ciede2000", 15.0, 20.0, 10.0, 0.5),
        ("mse", 400.0, 900.0, 400.0, 1.0),
        ("total_loss", 2.0, 20.0, 0.2, 0.5),
        ("total_loss", 0.0, 20.0, 0.2, math.inf),
        ("miou", math.nan, 10.0, 50.0, math.nan),
        ("miou", 50.0, math.nan, 50.0, math.nan),
    ],
)
def test_quality_of_a_value(metric, value, floor, reference, expected):
    assert quality(describe(metric), value, floor, reference) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("metric", ["ciede2000", "total_loss"])
def test_the_error_of_quality_is_that_of_many_draws(metric):
    random = np.random.default_rng(0)
    value, reference, floor = 4.0, 2.0, 30.0
    draws = zip(random.normal(value, 0.1, 4000), random.normal(reference, 0.05, 4000), strict=True)
    drawn = np.std([quality(describe(metric), v, floor, s) for v, s in draws])
    error = error_of_quality(describe(metric), (value, 0.1), floor, (reference, 0.05))
    assert error == pytest.approx(drawn, rel=0.05)
    assert error_of_quality(describe(metric), (reference, 0.05), floor, (reference, 0.05)) == 0  # a shared base


def test_a_table_without_its_columns_is_refused(metrics, growth, costs):
    quality_of_tasks = quality_table(metrics, SEQUENCE)
    with pytest.raises(DataError, match=r"growth\.csv: column 'bytes' is missing"):
        forgetting_table(quality_of_tasks, growth.drop(columns="bytes"), costs, SEQUENCE, METHODS)
    with pytest.raises(DataError, match=r"metrics\.csv: column 'after' is missing"):
        quality_table(metrics.drop(columns="after"), SEQUENCE)
