import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from palimpsest.errors import DataError
from palimpsest.report.page import Origin, render, write_page


class Reader(HTMLParser):
    """The rows of cells, the attributes that fetch something, and the tags that were never closed."""

    VOID = ("meta", "img", "br", "circle", "rect", "path", "line")

    def __init__(self):
        super().__init__()
        self.rows, self.fetched, self.open, self.cell = [], [], [], None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.fetched += [attributes[name] for name in ("src", "srcset", "data") if name in attributes]
        if "href" in attributes and not attributes["href"].startswith("#"):
            self.fetched.append(attributes["href"])
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""
        if tag == "br" and self.cell is not None:
            self.cell += " "

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(" ".join(self.cell.split()))
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


@pytest.fixture
def results(tmp_path, metrics, sizes):
    folder = tmp_path / "results" / "mini"
    (folder / "analysis").mkdir(parents=True)
    metrics.to_csv(folder / "metrics.csv", index=False)
    sizes.to_csv(folder / "sizes.csv", index=False)
    pd.DataFrame(
        [
            [0, "piggyback", "colorize", "encoder.0.weight", 100, 0.10],
            [0, "piggyback", "colorize", "encoder.1.weight", 300, 0.30],
            [0, "piggyback", "style-gogh", "encoder.0.weight", 100, 0.44],
        ],
        columns=["seed", "method", "task", "layer", "weights", "zeros"],
    ).to_csv(folder / "analysis" / "zeros.csv", index=False)
    pd.DataFrame(
        [[0, "piggyback", "style-gogh", "colorize", 0.66, 0.625]],
        columns=["seed", "method", "task", "other", "similarity", "independent"],
    ).to_csv(folder / "analysis" / "similarity.csv", index=False)
    return folder


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "mini"
    task = folder / "prepared" / "coco-seg"
    task.mkdir(parents=True)
    counts = {
        "val": {"pictures": 8},
        "train": {"from": "train2017", "pictures": 1400, "refused": 2, "broken": 1},
    }
    left_out = [{"split": "train", "source": "a<b>.jpg", "kind": "broken", "reason": "truncated"}]
    (task / "info.json").write_text(json.dumps({"splits": counts, "left_out": left_out, "size": 64}))
    return folder


def save(results, method, what, *, seed=0, side=16):
    path = results / "evaluation" / f"seed-{seed}" / method / "samples" / "coco-seg" / f"{what}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)).save(path)


def read(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


@pytest.fixture
def page(results, data, sequence, methods):
    def make(origin=None, methods=methods):
        return render(results, data, sequence, methods, origin or Origin("mini"))

    return make


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


def test_sizes_are_read_off_the_files(page):
    rows = read(page()).rows
    assert ["fine-tune", "4,096.0", "–", "1.0", "4.00", "3.00", "4.00", "–", "56.4", "20"] in rows
    assert ["piggyback", "4,096.0", "128.5", "128.5", "4.25", "–", "4.25", "–", "63.6", "23"] in rows


def test_zeros_and_similarity_stand_with_their_comparison(page):
    html = page()
    assert "encoder.1.weight, colorize: 30.00 %" in html
    assert "25.0 % in all" in html  # (100 · 0.1 + 300 · 0.3) / 400
    assert ["style-gogh", "0.6600 0.6250 · +3.5"] in read(html).rows


def test_a_changed_method_is_shown_twice_and_an_unchanged_one_once(results, page):
    for method in ("fine-tune", "piggyback"):
        save(results, method, "after-coco-seg-0")
        save(results, method, "after-style-gogh-0")
    save(results, "floor", "input-0")
    html = page()
    assert re.findall(r'alt="coco-seg, sample 0: (.*?)"', html) == [
        " input",
        "fine-tune after coco-seg",
        "fine-tune after style-gogh",
        "piggyback after coco-seg",
    ]
    assert "Not found: target, floor." in html


def test_samples_are_in_the_order_of_their_numbers(results, page):
    for number in (10, 9, 2):
        save(results, "floor", f"input-{number}")
    assert re.findall(r"sample (\d+):", page()) == ["2", "9", "10"]


def test_large_pictures_are_made_lighter(results, page):
    save(results, "floor", "input-0", side=160)
    assert read(page()).fetched[0].startswith("data:image/webp;base64,")


def test_names_from_files_are_escaped(page):
    html = page(Origin("<b>mini</b>", commit="1234567"))
    assert "<b>mini</b>" not in html
    assert "&lt;b&gt;mini&lt;/b&gt;" in html
    assert "a&lt;b&gt;.jpg" in html


def test_left_out_files_are_counted_and_listed(page):
    html = page()
    rows = read(html).rows
    start = rows.index(["coco-seg", "train", "1,400", "2", "1"])
    assert rows[start + 1 : start + 3] == [["val", "8", "–", "–"], ["colorize", "not recorded"]]
    assert "<code>a&lt;b&gt;.jpg</code> (train, broken): truncated" in html
    assert "coco-seg: 1 left out" in html


def test_a_plain_list_of_left_out_files_is_understood(data, page):
    (data / "prepared" / "coco-seg" / "info.json").write_text('[{"file": "x.jpg", "reason": "empty"}]')
    html = page()
    assert "<code>x.jpg</code>: empty" in html


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


def test_the_pictures_are_those_of_the_first_seed_that_has_any(results, metrics, page):
    pd.concat([metrics, metrics.assign(seed=1)]).to_csv(results / "metrics.csv", index=False)
    save(results, "floor", "input-0", seed=1)
    assert "Seed 1." in page()


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
