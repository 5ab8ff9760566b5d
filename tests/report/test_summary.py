import json

import pandas as pd
import pytest

from palimpsest.errors import DataError
from palimpsest.report.summary import matrix_of_tables, summarise, write_summary


def test_the_table_has_the_shape_of_the_study(metrics, sizes, sequence, methods, verification):
    summary = summarise(metrics, sizes, sequence, methods, verification)
    assert list(summary) == ["floor", "fine-tune", "piggyback"]
    assert summary["fine-tune"] == {
        "task 1 coco-seg": {"miou": 90.0},
        "task 2 colorize": {"ssim": 0.9, "mse": 180.0, "ciede2000": 10.0, "colourfulness": 0.6},
        "task 3 style-gogh": {"total_loss": 1.75, "ssim": 0.4},
        "forgetting": {
            "coco-seg after colorize": {"miou": 45.0},
            "coco-seg after style-gogh": {"miou": 9.0},
            "colorize after style-gogh": {"ssim": 0.9, "mse": 720.0, "ciede2000": 10.0, "colourfulness": 0.6},
        },
        "since_learned": {"changed": 3, "not comparable": 0, "verified": 3},
        "size_mib": 4.0,
        "bytes": 4 * 2**20 + 1024,
        "learn_bytes": 3 * 2**20,
    }


def test_the_floor_has_figures_and_neither_size_nor_forgetting(metrics, sizes, sequence, methods, verification):
    floor = summarise(metrics, sizes, sequence, methods, verification)["floor"]
    assert list(floor) == ["task 1 coco-seg", "task 2 colorize", "task 3 style-gogh"]
    assert floor["task 2 colorize"]["colourfulness"] == 0


def test_the_study_counts_weights_alone_and_bytes_count_everything(metrics, sizes, sequence, methods, verification):
    piggyback = summarise(metrics, sizes, sequence, methods, verification)["piggyback"]
    assert piggyback["size_mib"] == 4.25
    assert piggyback["bytes"] == 4 * 2**20 + 2**18 + 1024
    assert piggyback["learn_bytes"] == 0


def test_the_outcomes_of_all_cells_and_seeds_are_counted(metrics, sizes, sequence, methods, verification):
    seeds = pd.concat([verification, verification.assign(seed=1, outcome="not comparable")])
    summary = summarise(metrics, sizes, sequence, methods, seeds)
    assert summary["piggyback"]["since_learned"] == {"changed": 0, "not comparable": 6, "verified": 6}
    assert summary["fine-tune"]["since_learned"] == {"changed": 3, "not comparable": 6, "verified": 3}
    assert "since_learned" not in summary["floor"]


def test_equal_checksums_within_the_matrix_are_no_proof(metrics, sizes, sequence, methods, verification):
    altered = verification.assign(
        outcome=verification["outcome"].mask(verification["method"] == "piggyback", "changed")
    )
    summary = summarise(metrics, sizes, sequence, methods, altered)
    assert summary["piggyback"]["since_learned"] == {"changed": 6, "not comparable": 0, "verified": 0}


def test_an_unknown_outcome_is_refused(metrics, sequence, verification):
    with pytest.raises(DataError, match=r"verification\.csv: unknown outcome 'fine', expected changed"):
        matrix_of_tables(metrics, sequence, verification.assign(outcome="fine"))


def test_several_seeds_give_mean_and_sample_standard_deviation(metrics, sizes, sequence, methods, verification):
    metrics["std_error"] = 1.0
    second = metrics.assign(seed=1, value=metrics["value"].where(metrics["metric"] != "miou", metrics["value"] - 2))
    summary = summarise(
        pd.concat([metrics, second]), pd.concat([sizes, sizes.assign(seed=1)]), sequence, methods, verification
    )
    assert summary["piggyback"]["task 1 coco-seg"] == {"miou": 89.0, "miou_std": 1.41, "miou_se": 1.0}
    assert summary["piggyback"]["task 2 colorize"]["ssim_std"] == 0
    assert "miou_best" not in summary["piggyback"]["task 1 coco-seg"]  # equal to that of fine-tune
    assert summary["piggyback"]["forgetting"]["coco-seg after colorize"]["miou_best"] == 1
    assert "miou_best" not in summary["fine-tune"]["forgetting"]["coco-seg after colorize"]
    assert summary["piggyback"]["size_mib"] == 4.25


def test_valid_json_omits_values_that_are_missing_or_not_finite(
    tmp_path, metrics, sizes, sequence, methods, verification
):
    broken = metrics.assign(value=metrics["value"].mask(metrics["metric"] == "mse", float("nan")))
    summary = summarise(
        broken, sizes[sizes["method"] != "fine-tune"], sequence, [*methods, "never-run"], verification
    )
    assert "mse" not in summary["piggyback"]["task 2 colorize"]
    assert "size_mib" not in summary["fine-tune"]
    assert "never-run" not in summary
    write_summary(tmp_path / "summary.json", summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_the_order_of_the_rows_does_not_matter(tmp_path, metrics, sizes, sequence, methods, verification):
    shuffled = metrics.sample(frac=1, random_state=0)
    write_summary(tmp_path / "a", summarise(metrics, sizes, sequence, methods, verification))
    write_summary(tmp_path / "b", summarise(shuffled, sizes, sequence, methods, verification))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_method_measured_only_after_the_last_task_has_its_row(metrics, sizes, sequence, verification):
    joint = metrics[(metrics["method"] == "piggyback") & (metrics["after"] == "style-gogh")].assign(method="joint")
    summary = summarise(joint, sizes, sequence, ["joint"], verification)
    assert summary["joint"]["task 1 coco-seg"] == {"miou": 90.0}
    assert summary["joint"]["forgetting"] == {}


def test_a_task_of_a_users_kind_has_the_metric_of_its_table(metrics, sizes, sequence, methods, verification):
    user_metrics = metrics[metrics["metric"] == "miou"].assign(task="mine", after="mine", metric="psnr")
    user_metrics = user_metrics.drop_duplicates(["method"])
    summary = summarise(
        pd.concat([metrics, user_metrics]), sizes, [*sequence, ("mine", "own-kind")], methods, verification
    )
    assert summary["piggyback"]["task 4 mine"] == {"psnr": 90.0}


def test_contradictions_in_the_file_are_refused(metrics, sequence, verification):
    with pytest.raises(DataError, match="column 'checksum' is missing"):
        matrix_of_tables(metrics.drop(columns="checksum"), sequence, verification)
    with pytest.raises(DataError, match="duplicate row for 0, floor, coco-seg, coco-seg, miou"):
        matrix_of_tables(pd.concat([metrics, metrics.head(1)]), sequence, verification)
    with pytest.raises(DataError, match="'style-gogh' is not in the sequence"):
        matrix_of_tables(metrics, sequence[:2], verification)
    odd = metrics.assign(checksum=metrics["checksum"].mask(metrics["metric"] == "mse", "other"))
    with pytest.raises(DataError, match="two checksums for one cell: 0, floor, colorize, colorize"):
        matrix_of_tables(odd, sequence, verification)
