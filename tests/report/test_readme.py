import math

import pandas as pd
import pytest

from palimpsest.errors import DataError
from palimpsest.report.readme import FIGURE_TITLES, has_table, methods_table, tasks_table, write_tables
from palimpsest.report.summary import summarise

TEXT = "# Title\n\n<!-- table:mini -->\nold\n<!-- /table:mini -->\n\nprose | of | its | own\n"


@pytest.fixture
def summary(metrics, sizes, sequence, methods, verification):
    return summarise(metrics, sizes, sequence, methods, verification)


def test_the_table_row_by_row(summary):
    assert tasks_table(summary).splitlines() == [
        "| task | metric | floor | fine-tune | piggyback |",
        "| --- | --- | ---: | ---: | ---: |",
        "| 1 `coco-seg` | mIoU (%) ↑ | 10.00 | 90.00 | 90.00 |",
        "| 2 `colorize` | SSIM ↑ | 0.9500 | 0.9000 | 0.9000 |",
        "|  | MSE ↓ | 600.00 | 180.00 | 200.00 |",
        "|  | CIEDE2000 (ΔE) ↓ | 13.00 | 10.00 | 10.00 |",
        "|  | colourfulness → 1 | 0.000 | 0.600 | 0.600 |",
        "| 3 `style-gogh` | total loss ↓ | 7.000 | 1.750 | 2.000 |",
        "|  | SSIM to the photograph | 1.0000 | 0.4000 | 0.4000 |",
        "| `coco-seg` after `style-gogh` | mIoU (%) ↑ | – | 9.00 | 90.00 |",
        "| `colorize` after `style-gogh` | SSIM ↑ | – | 0.9000 | 0.9000 |",
        "|  | MSE ↓ | – | 720.00 | 200.00 |",
        "| predictions since learned |  | – | changed | verified |",
        "| weights of all tasks | MiB | – | 4.00 | 4.25 |",
        "| all files needed to run | MiB | – | 4.00 | 4.25 |",
    ]


def test_the_best_over_several_seeds_are_bold(seeds, sizes, sequence, methods, verification):
    several = pd.concat([sizes.assign(seed=seed) for seed in range(3)])
    outcomes = pd.concat([verification.assign(seed=seed) for seed in range(3)])
    lines = tasks_table(summarise(seeds, several, sequence, methods, outcomes)).splitlines()
    assert lines[2] == "| 1 `coco-seg` | mIoU (%) ↑ | 10.01 ± 0.01 | 90.09 ± 0.09 | 90.09 ± 0.09 |"
    assert lines[4] == "|  | MSE ↓ | 600.60 ± 0.60 | **180.18 ± 0.18** | 200.20 ± 0.20 |"
    assert lines[9] == "| `coco-seg` after `style-gogh` | mIoU (%) ↑ | – | 9.01 ± 0.01 | **90.09 ± 0.09** |"
    assert sum("**" in line for line in lines) == 4


def test_means_have_deviations():
    summary = {
        "floor": {"task 1 a": {"miou": 1.0, "miou_std": 0.0}},
        "m": {"task 1 a": {"miou": 2, "miou_std": 0.3, "miou_se": 0.4}},
    }
    assert tasks_table(summary).splitlines()[2] == "| 1 `a` | mIoU (%) ↑ | 1.00 ± 0.00 | 2.00 ± 0.50 |"


def test_many_methods_become_rows(summary):
    forgetting = pd.DataFrame(
        [
            ["fine-tune", 0.05, -0.9, 0.01, 0.4, 0.0, 1024.0, 30.0, 900.0],
            ["piggyback", 0.95, 0.0, -0.05, 0.0, 2048.0, 0.0, math.nan, math.nan],
        ],
        columns=["method", *FIGURE_TITLES],
    )
    assert methods_table(summary, forgetting).splitlines() == [
        "|  | `coco-seg` mIoU (%) ↑ | `colorize` SSIM ↑ | `colorize` CIEDE2000 (ΔE) ↓ | `style-gogh` total loss ↓ "
        "| `coco-seg` after `colorize` mIoU (%) ↑ | final quality (%) | backward transfer (%) | "
        "forward transfer (%) | excess loss (%) | KiB a task, to run "
        "| KiB in all, to learn on | s a task | peak MiB | predictions since learned |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| `floor` | 10.00 | 0.9500 | 13.00 | 7.000 | – | – | – | – | – | – | – | – | – | – |",
        "| `fine-tune` | 90.00 | 0.9000 | 10.00 | 1.750 | 45.00 | 5.0 | −90.0 | +1.0 | +40.0 | 0.0 "
        "| 1.0 | 30.0 | 900 | changed |",
        "| `piggyback` | 90.00 | 0.9000 | 10.00 | 2.000 | 90.00 | 95.0 | 0.0 | −5.0 | 0.0 | 2.0 "
        "| 0.0 | – | – | verified |",
    ]


def test_only_text_between_the_markers_is_replaced(tmp_path, summary):
    readme = tmp_path / "README.md"
    readme.write_text(TEXT, "utf-8")
    for _ in range(2):
        write_tables(readme, {"mini": tasks_table(summary)})
        assert readme.read_text("utf-8") == TEXT.replace("old\n", tasks_table(summary))


def test_a_page_with_markers_has_a_table(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- table:mini -->\n<!-- /table:mini -->\n")
    assert has_table(readme, "mini") and not has_table(readme, "paper")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("<!-- table:mini -->", ""),
            "expected one marker <!-- table:mini -->, found 0",
        ),
        (TEXT.replace("<!-- /table:mini -->", ""), "one marker <!-- /table:mini -->, found 0"),
        (TEXT + TEXT, "found 2; correct the page"),
        ("<!-- /table:mini --><!-- table:mini -->", "precedes"),
    ],
)
def test_missing_and_duplicate_markers_are_errors_and_change_nothing(tmp_path, summary, text, message):
    readme = tmp_path / "README.md"
    readme.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        write_tables(readme, {"mini": tasks_table(summary)})
    assert readme.read_text("utf-8") == text
