import math

import pandas as pd
import pytest

from palimpsest.analysis.transfer import forgetting_table, quality_figures, scored_tasks, times_as_good
from palimpsest.errors import DataError
from palimpsest.metrics.described import describe

SEQUENCE = [("seg", "segmentation"), ("colour", "colorization")]
METHODS = ["scratch", "fine-tune", "piggyback"]
KEYS = {"seg": "miou", "colour": "ciede2000", "style": "total_loss"}


def metric_table(*cells, seed=0):
    rows = [[seed, method, task, after, KEYS[task], value] for method, task, after, value in cells]
    return pd.DataFrame(rows, columns=["seed", "method", "task", "after", "metric", "value"])


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


def row(table, method):
    return table.set_index("method").loc[method].to_dict()


def test_every_figure_of_two_tasks_and_three_methods_by_hand(metrics, growth, costs):
    table = forgetting_table(metrics, growth, costs, SEQUENCE, ["floor", *METHODS, "never-run"])
    assert table["method"].tolist() == METHODS
    assert row(table, "scratch") == {
        "relative_quality": 1.0,
        "backward_transfer": 0.0,
        "forward_transfer": 0.0,
        "bytes_per_added_task": 1000.0,
        "learn_bytes": 0.0,
        "seconds": 30.0,
        "peak_memory": 700.0,
    }
    assert row(table, "fine-tune") == pytest.approx(
        {
            "relative_quality": (20 / 80 + 10 / 8) / 2,  # colour difference: 8 is 1.25 times as good as 10
            "backward_transfer": 20 / 80 - 1,
            "forward_transfer": 10 / 8 - 1,
            "bytes_per_added_task": 100.0,
            "learn_bytes": 900.0,
            "seconds": 31.0,
            "peak_memory": 701.0,
        }
    )
    piggyback = row(table, "piggyback")
    assert [piggyback[name] for name in table.columns[1:4]] == pytest.approx([(1 + 0.8) / 2, 0.0, -0.2])
    assert all(math.isnan(piggyback[name]) for name in table.columns[4:])  # neither stored nor timed


def test_the_tasks_of_each_mean():
    sequence = [*SEQUENCE, ("style", "style")]
    metrics = metric_table(
        ("scratch", "seg", "seg", 80.0),
        ("scratch", "colour", "colour", 10.0),
        ("scratch", "style", "style", 2.0),
        ("ewc", "seg", "seg", 60.0),  # first task, so no forward transfer
        ("ewc", "seg", "colour", 1.0),
        ("ewc", "seg", "style", 30.0),
        ("ewc", "colour", "colour", 8.0),
        ("ewc", "colour", "style", 20.0),
        ("ewc", "style", "style", 4.0),
    )
    growth = growth_table(("ewc", "seg", "run", 100), ("ewc", "colour", "run", 900), ("ewc", "style", "run", 160))
    costs = cost_table(("ewc", "seg", 99.0, 999.0), ("ewc", "colour", 20.0, 300.0), ("ewc", "style", 40.0, 200.0))
    figures = row(forgetting_table(metrics, growth, costs, sequence, ["ewc"]), "ewc")
    assert figures["relative_quality"] == pytest.approx((30 / 80 + 10 / 20 + 2 / 4) / 3)
    assert figures["backward_transfer"] == pytest.approx(((30 / 60 - 1) + (8 / 20 - 1)) / 2)
    assert figures["forward_transfer"] == pytest.approx(((10 / 8 - 1) + (2 / 4 - 1)) / 2)
    assert (figures["bytes_per_added_task"], figures["seconds"], figures["peak_memory"]) == (30.0, 30.0, 300.0)


def test_the_base_task_counts_as_much_as_any_task_in_final_quality(metrics):
    kept = row(forgetting_table(metrics, growth_table(), cost_table(), SEQUENCE, ["fine-tune"]), "fine-tune")
    lost = metrics.assign(value=metrics["value"].mask(metrics["value"] == 20.0, 0.0))
    gone = row(forgetting_table(lost, growth_table(), cost_table(), SEQUENCE, ["fine-tune"]), "fine-tune")
    assert kept["relative_quality"] - gone["relative_quality"] == pytest.approx(20 / 80 / 2)
    assert (gone["backward_transfer"], gone["forward_transfer"]) == (-1.0, kept["forward_transfer"])


@pytest.mark.parametrize("error", [10.0, 1e3, 1e6])
def test_backward_transfer_of_an_error_is_above_minus_one(error):
    sequence = [("colour", "colorization"), ("seg", "segmentation")]
    cells = [("lwf", "colour", "colour", 5.0), ("lwf", "colour", "seg", error)]
    figures = row(forgetting_table(metric_table(*cells), growth_table(), cost_table(), sequence, ["lwf"]), "lwf")
    assert -1 < figures["backward_transfer"] == pytest.approx(5 / error - 1)


def test_shared_bytes_for_training_do_not_count_per_task(metrics):
    fisher = [("fine-tune", task, "learn", 800) for task in ("seg", "colour")]
    network = [("fine-tune", task, "run", 1000) for task in ("seg", "colour")]
    growth = growth_table(*fisher, *network)
    figures = row(forgetting_table(metrics, growth, cost_table(), SEQUENCE, METHODS), "fine-tune")
    assert (figures["bytes_per_added_task"], figures["learn_bytes"]) == (0.0, 800.0)


def test_final_quality_of_a_task_is_the_product_of_its_transfers():
    sequence = [("seg", "segmentation"), ("colour", "colorization"), ("style", "style")]
    cells = [
        ("ewc", "colour", "colour", 8.0),
        ("ewc", "colour", "style", 25.0),
        ("scratch", "colour", "colour", 10.0),
    ]
    figures = row(forgetting_table(metric_table(*cells), growth_table(), cost_table(), sequence, ["ewc"]), "ewc")
    relative, backward, forward = (figures[name] for name in list(figures)[:3])
    assert relative == pytest.approx(10 / 25) == pytest.approx((1 + forward) * (1 + backward))


def test_without_scratch_only_backward_transfer_is_known(metrics, growth, costs):
    table = forgetting_table(metrics[metrics["method"] != "scratch"], growth, costs, SEQUENCE, METHODS)
    figures = row(table, "fine-tune")
    assert math.isnan(figures["relative_quality"]) and math.isnan(figures["forward_transfer"])
    assert (figures["backward_transfer"], figures["bytes_per_added_task"]) == (-0.75, 100.0)


def test_without_records_time_and_memory_are_unknown(metrics, growth):
    table = forgetting_table(metrics, growth, cost_table(), SEQUENCE, METHODS)
    assert table[["seconds", "peak_memory"]].isna().all(axis=None)
    assert table["relative_quality"].notna().all()


def test_a_mean_needs_values_of_all_tasks(metrics):
    sequence = [*SEQUENCE, ("style", "style")]
    extended = pd.concat(
        [metrics, metric_table(("scratch", "style", "style", 2.0), ("fine-tune", "style", "style", 2.0))]
    )
    figures = row(
        forgetting_table(
            extended, growth_table(), cost_table(("fine-tune", "style", 9.0, 9.0)), sequence, ["fine-tune"]
        ),
        "fine-tune",
    )
    assert math.isnan(figures["relative_quality"])  # seg and colour were not measured after style
    assert math.isnan(figures["seconds"]) and math.isnan(figures["peak_memory"])
    assert figures["forward_transfer"] == pytest.approx((10 / 8 - 1 + 0) / 2)


def test_each_seed_is_relative_to_its_scratch_and_seeds_have_a_deviation(metrics, growth, costs):
    second = metrics.assign(seed=1, value=metrics["value"].mask(metrics["value"] == 10.0, 4.0))
    table = forgetting_table(
        pd.concat([metrics, second]), pd.concat([growth, growth.assign(seed=1)]), costs, SEQUENCE, METHODS
    )
    figures = row(table, "fine-tune")
    assert list(table)[1:5] == [
        "relative_quality",
        "relative_quality_std",
        "backward_transfer",
        "backward_transfer_std",
    ]
    assert figures["relative_quality"] == pytest.approx((20 / 80 + (10 / 8 + 4 / 8) / 2) / 2)
    assert figures["relative_quality_std"] == pytest.approx(0.75 / 2 / math.sqrt(2))
    assert (figures["backward_transfer"], figures["backward_transfer_std"]) == (-0.75, 0.0)
    assert figures["seconds"] == 31.0 and math.isnan(figures["seconds_std"])  # one seed was timed


def test_quality_needs_neither_bytes_nor_costs(metrics):
    second = metrics.assign(seed=1, value=metrics["value"].mask(metrics["value"] == 10.0, 4.0))
    figures = quality_figures(pd.concat([second, metrics]), SEQUENCE)
    assert set(figures) == set(METHODS)
    assert figures["fine-tune"] == {
        0: pytest.approx({"relative_quality": 0.75, "backward_transfer": -0.75, "forward_transfer": 0.25}),
        1: pytest.approx({"relative_quality": 0.375, "backward_transfer": -0.75, "forward_transfer": -0.5}),
    }
    with pytest.raises(DataError, match=r"metrics\.csv: column 'after' is missing"):
        quality_figures(metrics.drop(columns="after"), SEQUENCE)


def test_a_method_measured_after_the_last_task_alone_has_a_final_quality(metrics):
    joint = metric_table(("joint", "seg", "colour", 70.0), ("joint", "colour", "colour", 20.0))
    table = forgetting_table(pd.concat([metrics, joint]), growth_table(), cost_table(), SEQUENCE, ["joint"])
    assert row(table, "joint")["relative_quality"] == pytest.approx((70 / 80 + 10 / 20) / 2)
    assert math.isnan(row(table, "joint")["backward_transfer"])


def test_a_single_task_has_a_final_quality_and_no_transfer(metrics):
    only = metrics[metrics["task"] == metrics["after"]].query("task == 'seg'")
    table = forgetting_table(only, growth_table(), cost_table(), SEQUENCE[:1], METHODS)
    assert table["method"].tolist() == METHODS
    assert table["relative_quality"].tolist() == [1.0, 1.0, 1.0]
    assert table.drop(columns=["method", "relative_quality"]).isna().all(axis=None)


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
    ("metric", "value", "reference", "expected"),
    [
        ("miou", 30.0, 60.0, 0.5),
        ("miou", 0.0, 60.0, 0.0),
        ("total_loss", 4.0, 2.0, 0.5),
        ("total_loss", 2.0, 2.0, 1.0),
        ("total_loss", 0.0, 0.0, 1.0),
    ],
)
def test_ratio_of_qualities(metric, value, reference, expected):
    assert times_as_good(describe(metric), value, reference) == expected


@pytest.mark.parametrize(
    ("metric", "value", "reference"), [("miou", 1.0, 0.0), ("mse", 0.0, 1.0), ("mse", math.nan, 1)]
)
def test_ratios_without_a_divisor_are_unknown(metric, value, reference):
    assert math.isnan(times_as_good(describe(metric), value, reference))


def test_a_table_without_its_columns_is_refused(metrics, growth, costs):
    with pytest.raises(DataError, match=r"growth\.csv: column 'bytes' is missing"):
        forgetting_table(metrics, growth.drop(columns="bytes"), costs, SEQUENCE, METHODS)
