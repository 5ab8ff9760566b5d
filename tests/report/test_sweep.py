from collections.abc import Sequence

import pandas as pd

from palimpsest.report.sweep import Sweep, losses_table, sweep_sections, sweep_table

SEQUENCE = [("first", "segmentation"), ("second", "segmentation")]

ROWS = [
    # variant, seed, task, after, metric, value
    *[("", seed, "first", "first", "miou", 90.0) for seed in (0, 1)],
    *[("", seed, "second", "second", "miou", 80.0 + seed) for seed in (0, 1)],
    *[("slow", seed, "first", "first", "miou", 90.0) for seed in (0, 1)],
    *[("slow", seed, "second", "second", "miou", 70.0 + 2 * seed) for seed in (0, 1)],
    *[("slow", seed, "style", "style", "total_loss", 0.25) for seed in (0, 1)],
    *[("slow", seed, "style", "style", "ssim", 0.25) for seed in (0, 1)],
    *[("slow", seed, task, task, "zeros", 0.3) for task in ("second", "style") for seed in (0, 1)],
]


def sweep(
    method: str,
    rows: list[tuple[object, ...]],
    settings: list[tuple[str, str, str]],
    quality: Sequence[tuple[str, int, float]] = (),
) -> Sweep:
    columns = ["variant", "seed", "task", "after", "metric", "value"]
    measured = pd.DataFrame(rows, columns=columns).assign(method=method)
    qualities = pd.DataFrame(quality, columns=["variant", "seed", "value"])
    return Sweep(method, measured, pd.DataFrame(settings, columns=["variant", "setting", "set_to"]), qualities)


def test_each_variant_has_a_line_with_means_and_deviations_over_seeds() -> None:
    assert sweep_table(sweep("piggyback", ROWS, [])).splitlines() == [
        "|  | `first` mIoU (%) ↑ | `second` mIoU (%) ↑ | `style` total loss ↓ | zeros (%) |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| **piggyback** | 90.00 ± 0.00 | 80.50 ± 0.71 | – | – |",
        "| `slow` | 90.00 ± 0.00 | 71.00 ± 1.41 | 0.2500 ± 0.0000 | 30 |",
    ]


def test_quality_is_the_first_column_in_per_cent() -> None:
    quality = [("", 0, 0.98), ("", 1, 1.0), ("slow", 0, 0.5), ("slow", 1, 0.5)]
    header, _, usual, slow = sweep_table(sweep("piggyback", ROWS, [], quality)).splitlines()
    assert header.startswith("|  | quality (%) | `first` mIoU (%) ↑ |")
    assert usual.startswith("| **piggyback** | 99.0 ± 1.4 | 90.00 ± 0.00 |")
    assert slow.startswith("| `slow` | 50.0 ± 0.0 | 90.00 ± 0.00 |")


def test_one_seed_has_no_deviation() -> None:
    (*_, last) = sweep_table(sweep("piggyback", [row for row in ROWS if row[1] == 0], [])).splitlines()
    assert last == "| `slow` | 90.00 | 70.00 | 0.2500 | 30 |"


def test_bytes_are_listed_if_variants_differ() -> None:
    bytes_of = [("", 0, task, task, "bytes", size) for task, size in (("second", 2048.0), ("style", 4096.0))]
    same = [("slow", *row[1:]) for row in bytes_of]
    assert sweep_table(sweep("bitdelta", [*ROWS, *bytes_of, *same], [])) == sweep_table(sweep("bitdelta", ROWS, []))
    less = [("slow", *row[1:5], 1024.0) for row in bytes_of]
    header, _, usual, slow = sweep_table(sweep("bitdelta", [*ROWS, *bytes_of, *less], [])).splitlines()
    assert [line.split(" | ")[-1] for line in (header, usual, slow)] == ["KiB a task |", "3.0 |", "1.0 |"]


def test_without_masks_the_table_has_no_column_of_zeros() -> None:
    header, *_ = sweep_table(sweep("ewc", ROWS[:4], [])).splitlines()
    assert header == "|  | `first` mIoU (%) ↑ | `second` mIoU (%) ↑ |"


def test_forgetting_is_compared_after_the_last_task_that_all_variants_trained() -> None:
    rows = [
        ("", 0, "first", "first", "miou", 90.0),
        ("", 0, "first", "second", "miou", 80.0),
        ("", 0, "second", "second", "miou", 70.0),
        ("", 0, "first", "third", "miou", 10.0),
        ("", 0, "second", "third", "miou", 20.0),
        ("slow", 0, "first", "first", "miou", 90.0),
        ("slow", 0, "first", "second", "miou", 85.0),
        ("slow", 0, "second", "second", "miou", 65.0),
    ]
    header, _, usual, slow = sweep_table(sweep("lwf", rows, [])).splitlines()
    assert header.endswith("| `first` mIoU (%) ↑ in the end |")
    assert usual.endswith("| 70.00 | 80.00 |") and slow.endswith("| 65.00 | 85.00 |")


def learned(variant: str, first_after: float, second: float) -> list[tuple[object, ...]]:
    return [
        (variant, 0, "first", "first", "miou", 80.0),
        (variant, 0, "first", "second", "miou", first_after),
        (variant, 0, "second", "second", "miou", second),
    ]


PENALTY = sweep(
    "ewc",
    [
        *learned("", 40.0, 45.0),
        *learned("stiff", 60.0, 25.0),
        *learned("loose", 20.0, 50.0),
        *learned("bn", 8.0, 48.0),
        *learned("pace", 16.0, 40.0),
    ],
    [
        ("", "method_settings.ewc.weight", "10.0"),
        ("", "method_settings.ewc.batchnorm", "task"),
        ("", "training.head_lr_multiplier", "4.0"),
        ("stiff", "method_settings.ewc.weight", "100.0"),
        ("loose", "method_settings.ewc.weight", "1.0"),
        ("bn", "method_settings.ewc.batchnorm", "shared"),
        ("pace", "training.head_lr_multiplier", "1.0"),  # the value of a weight that has a line
    ],
)


def test_the_table_has_forgetting_too() -> None:
    assert sweep_table(PENALTY).splitlines() == [
        "|  | `first` mIoU (%) ↑ | `second` mIoU (%) ↑ | `first` mIoU (%) ↑ in the end |",
        "| --- | ---: | ---: | ---: |",
        "| **ewc** | 80.00 | 45.00 | 40.00 |",
        "| `stiff` | 80.00 | 25.00 | 60.00 |",
        "| `loose` | 80.00 | 50.00 | 20.00 |",
        "| `bn` | 80.00 | 48.00 | 8.00 |",
        "| `pace` | 80.00 | 40.00 | 16.00 |",
    ]


def test_the_section_lists_the_changes_of_each_variant() -> None:
    section = sweep_sections([PENALTY], SEQUENCE)
    assert section is not None
    assert section["tables"][0]["rows"][1]["changes"] == "method_settings.ewc.weight = 100.0"
    assert section["losses"] == []
    assert sweep_sections([], SEQUENCE) is None


def test_losses_are_listed_with_those_of_the_study() -> None:
    blocks = sweep(
        "resblock6",
        [*learned("", 80.0, 50.0), *learned("l1", 80.0, 7.5)],
        [
            ("", "tasks.first.loss", "cross-entropy"),
            ("", "tasks.second.loss", "cross-entropy"),
            ("", "sequence", "['first', 'second', 'style']"),
            ("l1", "tasks.first.loss", "l1"),
            ("l1", "tasks.second.loss", "l1"),
            ("l1", "sequence", "['first', 'second']"),
        ],
    )
    rows = {
        row["loss"]: (row["study"], row["cells"]) for row in losses_table([blocks, PENALTY], ["first", "second"])
    }
    assert rows["L1"] == ("7.11", ["80.00", "7.50"])
    assert rows["cross-entropy"] == ("52.55", ["80.00", "50.00"])
    assert rows["adversarial, 9 blocks"] == ("9.54", ["–", "–"])
