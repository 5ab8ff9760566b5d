import re

import pandas as pd
import pytest

from palimpsest.errors import DataError
from palimpsest.report.page import Origin, write_page
from tests.report.conftest import read, save


def test_the_page_fetches_nothing_and_runs_nothing(results, page):
    save(results, "floor", "input-0")
    html = page()
    assert [address for address in read(html).fetched if not address.startswith("data:image/png;base64,")] == []
    assert len(read(html).fetched) == 1
    assert not re.search(r"<script|<link|<iframe|@import|url\(|https?://", html)


def test_the_results_table_has_floor_and_methods_and_marks_the_best(page):
    html = page()
    rows = read(html).rows
    assert ["task", "metric", "floor", "fine-tune", "piggyback"] in rows
    assert ["1 coco-seg segmentation, 8 pictures", "mIoU (%) ↑", "10.00", "90.00", "90.00"] in rows
    assert ["MSE ↓", "600.00", "180.00", "200.00"] in rows
    assert '<span class="best">180.00</span>' in html
    assert '<span class="best">90.00</span>' not in html  # all alike: none is the best


def test_a_value_no_better_than_the_floor_is_marked(page):
    # both methods have an SSIM of 0.9 where the grey picture has 0.95
    assert page().count('<span class=" weak">0.9000</span>') == 2


def test_the_forgetting_matrix_says_which_predictions_changed(page):
    html = page()
    rows = read(html).rows
    assert ["coco-seg", "mIoU ↑", "90.00 =", "45.00 ≠", "9.00 ≠"] in rows
    assert ["coco-seg", "mIoU ↑", "90.00 =", "90.00 =", "90.00 ="] in rows
    assert "--heat: 50%" in html  # 90 → 45
    assert "--heat: 90%" in html  # 90 → 9
    assert "--heat: 100%" in html  # the error grew fourfold
    assert "Predictions changed: fine-tune." in html
    assert re.search(r"every later one:\s+piggyback\.", html)


def test_names_from_files_are_escaped(page):
    html = page(Origin("<b>mini</b>", commit="1234567"))
    assert "<b>mini</b>" not in html
    assert "&lt;b&gt;mini&lt;/b&gt;" in html
    assert "a&lt;b&gt;.jpg" in html


def test_what_is_missing_is_said_to_be_missing(results, page):
    (results / "sizes.csv").unlink()
    (results / "analysis" / "zeros.csv").unlink()
    (results / "analysis" / "similarity.csv").unlink()
    html = page(methods=["fine-tune", "piggyback", "ewc"])
    for file in ("sizes.csv", "analysis/zeros.csv", "analysis/similarity.csv"):
        assert f"<code>{file}</code> is missing" in html
    assert "Not measured: ewc." in html
    assert html.count("No sample pictures were found.") == 3
    assert "not recorded" in html  # commit and settings
    read(html)


def test_without_metrics_there_is_no_page(results, page):
    (results / "metrics.csv").unlink()
    with pytest.raises(DataError, match=r"metrics\.csv: missing"):
        page()


def test_unreadable_files_are_named(results, data, page):
    save(results, "floor", "input-0")
    picture = results / "evaluation/seed-0/floor/samples/coco-seg/input-0.png"
    picture.write_bytes(picture.read_bytes()[:20])
    with pytest.raises(DataError, match=r"input-0\.png: not a readable picture"):
        page()
    picture.unlink()
    (data / "prepared/coco-seg/info.json").write_text("{")
    with pytest.raises(DataError, match=r"info\.json: not valid JSON"):
        page()


def test_several_seeds_show_their_deviation(results, metrics, page):
    second = metrics.assign(seed=1, value=metrics["value"] - 2 * (metrics["metric"] == "miou"))
    pd.concat([metrics, second]).to_csv(results / "metrics.csv", index=False)
    html = page()
    row = next(row for row in read(html).rows if row[0].startswith("1 coco-seg"))
    assert row[2:] == ["9.00 ± 1.41", "89.00 ± 1.41", "89.00 ± 1.41"]
    assert "over 2 seeds" in html


def test_a_checksum_that_looks_like_a_number_stays_text(results, metrics, page):
    # read as numbers, 1e2 and 100.0 would be equal
    checksums = metrics["checksum"].replace({"a1": "1e2", "a2": "100.0"})
    metrics.assign(checksum=checksums).to_csv(results / "metrics.csv", index=False)
    assert ["coco-seg", "mIoU ↑", "90.00 =", "45.00 ≠", "9.00 ≠"] in read(page()).rows


def test_the_same_files_give_the_same_page(tmp_path, results, data, sequence, methods):
    save(results, "floor", "input-0")
    for name in ("a.html", "b.html"):
        write_page(
            tmp_path / name,
            results=results,
            data=data,
            sequence=sequence,
            methods=methods,
            origin=Origin("mini"),
        )
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_value_that_is_no_number_is_refused_with_the_files_name(results, metrics, page):
    metrics.astype({"value": object}).replace({"value": {45.0: "much"}}).to_csv(
        results / "metrics.csv", index=False
    )
    with pytest.raises(DataError, match=r"metrics\.csv: not a readable table"):
        page()
