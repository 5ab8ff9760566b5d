import pandas as pd

from tests.report.conftest import read


def test_sizes_are_those_of_the_files(page):
    rows = read(page()).rows
    assert ["fine-tune", "4,096.0", "–", "1.0", "4.00", "3.00", "4.00", "–", "56.4", "20"] in rows
    assert ["piggyback", "4,096.0", "128.5", "128.5", "4.25", "–", "4.25", "–", "63.6", "23"] in rows


def test_zeros_and_similarity_have_their_comparison(page):
    html = page()
    assert "encoder.1.weight, colorize: 30.00 %" in html
    assert "25.0 % in all" in html  # (100 · 0.1 + 300 · 0.3) / 400
    assert ["style-gogh", "0.6600 0.6250 · +3.5"] in read(html).rows


def test_diagnostics_of_trainings_are_listed_by_task(page):
    rows = read(page()).rows
    assert ["piggyback", "weights that no task owns yet (%)", "–", "36", "–"] in rows
    assert ["piggyback", "spare", "–", "–", "1,234"] in rows  # without a description


def test_diagnostics_are_means_over_the_seeds(results, page):
    rows = [[seed, "piggyback", "colorize", "free", value] for seed, value in ((0, 0.3), (1, 0.4))]
    columns = ["seed", "method", "task", "name", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(results / "diagnostics.csv", index=False)
    assert ["piggyback", "weights that no task owns yet (%)", "–", "35 ± 7.1", "–"] in read(page()).rows
    pd.DataFrame(columns=columns).to_csv(results / "diagnostics.csv", index=False)
    assert "No method of this run has diagnostics." in page()
