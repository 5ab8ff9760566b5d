import pandas as pd

from palimpsest.report.sweep import sweep_table

ROWS = [
    # variant, seed, method, task, metric, value
    *[("", seed, "scratch", "first", "miou", 90.0) for seed in (0, 1)],
    *[("", seed, "scratch", "second", "miou", 80.0 + seed) for seed in (0, 1)],
    *[("", seed, "scratch", "style", "total_loss", 0.2) for seed in (0, 1)],
    *[("", seed, "scratch", "style", "ssim", 0.5) for seed in (0, 1)],
    *[("slow", seed, "piggyback", "first", "miou", 90.0) for seed in (0, 1)],
    *[("slow", seed, "piggyback", "second", "miou", 70.0 + 2 * seed) for seed in (0, 1)],
    *[("slow", seed, "piggyback", "style", "total_loss", 0.25) for seed in (0, 1)],
    *[("slow", seed, "piggyback", task, "zeros", 0.3) for task in ("second", "style") for seed in (0, 1)],
]


def frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["variant", "seed", "method", "task", "metric", "value"])


def test_a_line_per_method_and_variant_with_means_and_deviations_over_the_seeds() -> None:
    assert sweep_table(frame(ROWS)).splitlines() == [
        "|  | `first` mIoU (%) ↑ | `second` mIoU (%) ↑ | `style` total loss ↓ | zeros (%) |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| **scratch** | 90.00 ± 0.00 | 80.50 ± 0.71 | 0.2000 ± 0.0000 | – |",
        "| piggyback, `slow` | 90.00 ± 0.00 | 71.00 ± 1.41 | 0.2500 ± 0.0000 | 30 |",
    ]


def test_one_seed_has_no_deviation() -> None:
    (*_, last) = sweep_table(frame([row for row in ROWS if row[1] == 0])).splitlines()
    assert last == "| piggyback, `slow` | 90.00 | 70.00 | 0.2500 | 30 |"
