import re
from functools import partial
from itertools import pairwise

import pandas as pd
import pytest

from palimpsest.analysis.transfer import quality_table
from palimpsest.errors import DataError
from palimpsest.explaining import COLUMNS as EXPERIMENT_COLUMNS
from palimpsest.explaining.names import PARTS
from palimpsest.report.page import Origin, render, write_page
from palimpsest.storage.atomic import write_text
from tests.report.conftest import SEQUENCE, read, save


def test_the_page_loads_no_resources(results, page):
    save(results, "floor", "input-0")
    html = page()
    assert [address for address in read(html).fetched if not address.startswith("data:image/png;base64,")] == []
    assert len(read(html).fetched) == 1
    assert html.count("<script") == html.count("<script>") == 1  # the viewer of the gallery
    assert not re.search(r"<link|<iframe|@import|url\((?!#)|https?://|fetch\(|import\(|XMLHttp", html)
    policy = {
        attributes.get("http-equiv"): attributes["content"]
        for tag, attributes in read(html).elements
        if tag == "meta" and "content" in attributes
    }
    assert policy["Content-Security-Policy"].startswith("default-src 'none'; img-src data:;")


def test_ids_are_unique_links_lead_to_them_and_headings_skip_no_level(results, page):
    save(results, "floor", "input-0")
    elements = read(page()).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in elements if tag == "a"}
    assert {"#gallery", "#learning", "#reproduce"} < links and {link.removeprefix("#") for link in links} <= {*ids}
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(level <= above + 1 for above, level in pairwise(levels))


def test_pictures_figures_and_scrolled_tables_have_a_text_for_screen_readers(results, page):
    for name in ("input-0", "target-0"):
        save(results, "floor", name)
    elements = read(page()).elements
    assert [attributes["alt"] for tag, attributes in elements if tag == "img"] == [
        "coco-seg, sample 0: input",
        "coco-seg, sample 0: target",
    ]
    figures = [
        attributes for tag, attributes in elements if tag == "figure" and "plot" in attributes.get("class", "")
    ]
    assert len(figures) == 4  # quality, two tasks with losses, zeros
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in figures)
    scrolled = [attributes for _, attributes in elements if attributes.get("class") == "scroll"]
    assert scrolled and all(attributes["aria-label"] and attributes["tabindex"] == "0" for attributes in scrolled)


def test_the_results_table_has_floor_and_methods(page):
    html = page()
    rows = read(html).rows
    assert ["task", "metric", "floor", "fine-tune", "piggyback"] in rows
    assert ["1 coco-seg segmentation, 8 pictures", "mIoU (%) ↑", "10.00", "90.00", "90.00"] in rows
    assert ["MSE ↓", "600.00", "180.00", "200.00"] in rows
    assert 'class="best">1' not in html  # a single run has no best method


def test_the_page_names_pictures_machine_and_versions(page):
    text = " ".join(page().split())
    assert "64 × 64 pixels of the validation split: 8 for coco-seg, 4 for colorize" in text
    assert "Fast 3000 (AVX2, 1 thread); torch 2.14.1, numpy 2.4.6; commit 0123456." in text


def test_the_best_over_several_seeds_are_marked(results, seeds, page):
    seeds.to_csv(results / "metrics.csv", index=False)
    html = page()
    assert '<span class="best">180.18</span>' in html
    assert '<span class="best">90.09</span>' not in html  # both methods have the same base network
    assert "over 3 seeds" in " ".join(html.replace("\n", " ").split())


def test_methods_that_require_a_network_have_a_table_to_themselves(results, seeds, page):
    residual = seeds[seeds["method"] == "fine-tune"].assign(method="resblock6")
    residual["value"] *= residual["metric"].map({"mse": 0.5}).fillna(1)
    pd.concat([seeds, residual]).to_csv(results / "metrics.csv", index=False)
    html = page(methods=["fine-tune", "resblock6", "piggyback"])
    rows = read(html).rows
    assert ["task", "metric", "floor", "fine-tune", "piggyback"] in rows
    assert ["task", "metric", "floor", "resblock6"] in rows
    assert '<span class="best">180.18</span>' in html  # fine-tune stays the best on its network
    assert '<span class="best">90.09</span>' not in html


def test_a_task_without_a_scale_is_named(results, metrics, page):
    scratch = metrics[metrics["method"] == "piggyback"].assign(method="scratch")
    floor = (metrics["method"] == "floor") & (metrics["metric"] == "ciede2000")
    better = metrics.assign(value=metrics["value"].mask(floor, 1.0))
    table = quality_table(pd.concat([better, scratch]), SEQUENCE)
    table.to_csv(results / "quality.csv", index=False)
    assert "Left out, because scratch is no better than the trivial baseline: colorize." in " ".join(page().split())


def test_a_value_no_better_than_the_floor_is_marked(page):
    # both methods have an SSIM of 0.9 where the grey picture has 0.95
    assert page().count('<span class=" weak">0.9000</span>') == 2


def test_the_forgetting_matrix_marks_changed_predictions(page):
    html = page()
    rows = read(html).rows
    assert ["coco-seg", "mIoU ↑", "90.00 =", "45.00 ≠", "9.00 ≠"] in rows
    assert ["coco-seg", "mIoU ↑", "90.00 =", "90.00 =", "90.00 ="] in rows
    assert "--heat: 50%" in html  # 90 → 45
    assert "--heat: 90%" in html  # 90 → 9
    assert "--heat: 100%" in html  # the error grew fourfold
    assert "<b>Changed</b>: fine-tune." in html
    assert re.search(r"after every later task:\s+piggyback\.", html)
    assert "A fault:" not in html and "fine-tune overwrites weights that earlier tasks use" in html


def test_a_change_with_a_method_that_cannot_forget_is_a_fault(results, verification, page):
    verification.assign(outcome="changed").to_csv(results / "verification.csv", index=False)
    html = page()
    assert "<b>A fault:</b> piggyback cannot forget by construction." in html
    assert ["coco-seg", "mIoU ↑", "90.00 ≠", "90.00 ≠", "90.00 ≠"] in read(html).rows


def test_predictions_of_another_machine_are_neither_verified_nor_changed(results, verification, page):
    verification.assign(outcome="not comparable").to_csv(results / "verification.csv", index=False)
    html = page()
    assert re.search(r"names them\): fine-tune, piggyback\.", html) and "A fault:" not in html
    assert ["coco-seg", "mIoU ↑", "90.00 ?", "90.00 ?", "90.00 ?"] in read(html).rows


def test_names_from_files_are_escaped(page):
    html = page(Origin("<b>mini</b>", commit="1234567"))
    assert "<b>mini</b>" not in html
    assert "&lt;b&gt;mini&lt;/b&gt;" in html
    assert "a&lt;b&gt;.jpg" in html


def test_missing_measurements_are_listed(page):
    html = page(methods=["fine-tune", "piggyback", "ewc"])
    assert "Not measured: ewc." in html
    assert "No sample pictures were found." in html
    assert "not recorded" in html  # commit and settings
    read(html)


@pytest.mark.parametrize("file", ["metrics.csv", "forgetting.csv", "verification.csv", "analysis/zeros.csv"])
def test_without_a_table_no_page_is_made(results, page, file):
    (results / file).unlink()
    with pytest.raises(DataError, match=rf"{file}: is missing; `snakemake"):
        page()


def test_unreadable_files_are_named(results, data, page):
    save(results, "floor", "input-0")
    picture = results / "evaluation/seed-0/floor/samples/coco-seg/input-0.png"
    picture.write_bytes(picture.read_bytes()[:20])
    advice = rf"delete the folder {picture.parents[1]} and run snakemake again$"
    with pytest.raises(DataError, match=rf"input-0\.png: not a readable picture .*; {advice}"):
        page()
    picture.unlink()
    picture.mkdir()
    with pytest.raises(DataError, match=rf"input-0\.png: not a readable picture .*; {advice}"):
        page()
    picture.rmdir()
    (data / "prepared/coco-seg/info.json").write_text("{")
    with pytest.raises(DataError, match=r"info\.json: missing or damaged"):
        page()


def test_several_seeds_have_a_deviation(results, metrics, page):
    second = metrics.assign(seed=1, value=metrics["value"] - 2 * (metrics["metric"] == "miou"))
    pd.concat([metrics, second]).to_csv(results / "metrics.csv", index=False)
    html = page()
    row = next(row for row in read(html).rows if row[0].startswith("1 coco-seg"))
    assert row[2:] == ["9.00 ± 1.41", "89.00 ± 1.41", "89.00 ± 1.41"]
    assert "t-test over 2 seeds" in " ".join(html.split())


def test_a_checksum_of_digits_is_read_as_text(results, metrics, page):
    # as numbers, 1e2 and 100.0 would be equal
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


def test_a_value_that_is_no_number_is_refused_with_its_file(results, metrics, page):
    metrics.astype({"value": object}).replace({"value": {45.0: "much"}}).to_csv(
        results / "metrics.csv", index=False
    )
    with pytest.raises(DataError, match=r"metrics\.csv: not a readable table"):
        page()


def test_many_methods_become_rows(results, metrics, page):
    methods = ["fine-tune", *(f"piggyback-{number}" for number in range(6))]
    copies = [metrics[metrics["method"] == "piggyback"].assign(method=name) for name in methods[1:]]
    pd.concat([metrics, *copies]).to_csv(results / "metrics.csv", index=False)
    assert ["task", "metric", "floor", *methods[:6]] in read(page(methods=methods[:6])).rows
    rows = read(page(methods=methods)).rows
    tasks = ["1 coco-seg segmentation", "2 colorize colorization", "3 style-gogh style"]
    start = rows.index(["method", *(f"{task}, 8 pictures" for task in tasks)])
    colour = ["SSIM ↑", "MSE ↓", "CIEDE2000 (ΔE) ↓", "colourfulness → 1"]
    assert rows[start + 1] == ["mIoU (%) ↑", *colour, "total loss ↓", "SSIM to the photograph"]
    assert rows[start + 2] == ["floor", "10.00", "0.9500", "600.00", "13.00", "0.000", "7.000", "1.0000"]
    assert rows[start + 3] == ["fine-tune", "90.00", "0.9000", "180.00", "10.00", "0.600", "1.750", "0.4000"]
    assert [row[0] for row in rows[start + 2 : start + 10]] == ["floor", *methods]


def test_many_methods_of_an_unmeasured_task_have_a_dash(results, sequence, data):
    html = render(results, data, [*sequence, ("edges", "paired")], [f"m{n}" for n in range(7)], Origin("mini"))
    rows = read(html).rows
    (start,) = [n for n, row in enumerate(rows) if "4 edges paired" in row]
    assert rows[start + 1][-1] == "not measured" and rows[start + 2][-1] == "–"


def test_the_forgetting_summary_is_a_table_and_an_accessible_figure(page):
    html = page()
    rows = read(html).rows
    start = rows.index(["method", "quality (%)", "stored (KiB)", "training of an added task"])
    assert rows[start + 1][3:5] == ["excess loss ↓", "to run, per added task ↓"]
    assert ["fine-tune ●", "50.0", "−70.0", "+5.0", "−12.5", "2.0", "1.5", "21.5", "640"] in rows
    assert ["piggyback ●", "90.0", "0.0", "−10.0", "0.0", "4.0", "0.0", "30.0", "700"] in rows
    assert "On the Pareto front: fine-tune, piggyback." in html
    assert "<title>piggyback: 90.0 %, 4 KiB</title>" in html
    assert "which is not among" not in html and "Time and memory were not measured" not in html


def test_methods_out_of_comparison_are_shown_and_dominate_none(results, data, sequence, methods):
    table = pd.read_csv(results / "forgetting.csv")
    best = {**table.iloc[1], "method": "joint", "final_quality": 1.2, "bytes_per_added_task": 1.0}
    pd.concat([table, pd.DataFrame([best])]).to_csv(results / "forgetting.csv", index=False)
    render_apart = partial(render, results, data, sequence, [*methods, "joint"], Origin("mini"))
    assert "On the Pareto front: joint." in render_apart()
    html = render_apart(incomparable={"joint": "learns all tasks at once"})
    assert "On the Pareto front: fine-tune, piggyback." in html
    assert "<title>joint: 120.0 %, 1 B</title>" in html
    assert "Not part of the front: joint (learns all tasks at once)." in " ".join(html.split())
    alone = render_apart(incomparable=dict.fromkeys([*methods, "joint"], "of another width"))
    assert "On the Pareto front: none." in alone
    read(alone)


def variant(name, miou_left, total_loss):
    """Return metrics of three learned tasks, with the first and colour also after the last."""
    return [
        (name, "coco-seg", "coco-seg", "miou", 90.0),
        (name, "coco-seg", "style-gogh", "miou", miou_left),
        (name, "colorize", "colorize", "ciede2000", 10.0),
        (name, "colorize", "style-gogh", "ciede2000", 12.5),
        (name, "style-gogh", "style-gogh", "total_loss", total_loss),
    ]


SWEPT = {
    "ewc": (
        [*variant("", 45.0, 2.0), *variant("stiff", 81.0, 4.0), *variant("loose", 9.0, 1.0)],
        [
            ("", "method_settings.ewc.weight", "1.0"),
            ("stiff", "method_settings.ewc.weight", "10.0"),
            ("loose", "method_settings.ewc.weight", "0.1"),
        ],
    ),
    "resblock6": (
        [("", "coco-seg", "coco-seg", "miou", 80.0), ("l2", "coco-seg", "coco-seg", "miou", 30.0)],
        [("", "tasks.coco-seg.loss", "cross-entropy"), ("l2", "tasks.coco-seg.loss", "l2")],
    ),
}


def test_sweeps_have_tables_and_losses_with_the_studys(tmp_path, results, data, sequence, methods):
    files = []
    for method, (rows, settings) in SWEPT.items():
        table = pd.DataFrame(rows, columns=["variant", "task", "after", "metric", "value"])
        table.assign(seed=0, method=method).to_csv(tmp_path / f"{method}.csv", index=False)
        pd.DataFrame(settings, columns=["variant", "setting", "set_to"]).to_csv(
            tmp_path / f"{method}-settings.csv", index=False
        )
        files.append(tmp_path / f"{method}.csv")
    html = render(results, data, sequence, methods, Origin("mini"), files)
    rows = read(html).rows
    assert ["stiff", "90.00", "10.00", "4.000", "81.00", "12.50", "method_settings.ewc.weight = 10.0"] in rows
    assert ["L2", "mIoU ↑", "4.49", "30.00"] in rows
    assert ["cross-entropy", "mIoU ↑", "52.55", "80.00"] in rows
    assert ["L1", "mIoU ↑", "7.11", "–"] in rows


def test_experiments_on_masks_have_a_sentence_and_a_figure(results, page):
    assert "Why masks work" not in page()
    rows = [
        ("parts", 0, task, condition, task, "quality", value)
        for task in ("colorize", "style-gogh")
        for condition, value in zip(PARTS, (0.1, 0.5, 0.7, 0.9), strict=True)
    ]
    write_text(results / "explain/metrics.csv", pd.DataFrame(rows, columns=EXPERIMENT_COLUMNS).to_csv(index=False))
    html = page()
    assert "What do mask, BatchNorm and head contribute?" in html and "and all three 90 %." in html
    assert 'href="#explained"' in html and 'aria-label="What do mask, BatchNorm and head contribute?"' in html


def test_the_summary_has_deviations(results, metrics, page):
    table = pd.read_csv(results / "forgetting.csv")
    for name in list(table)[1:]:
        table[f"{name}_std"] = 0.02
    table.to_csv(results / "forgetting.csv", index=False)
    pd.concat([metrics, metrics.assign(seed=1)]).to_csv(results / "metrics.csv", index=False)
    html = page()
    row = next(row for row in read(html).rows if row[0] == "piggyback ●")
    assert row[1:3] == ["90.0 ± 2.0", "0.0 ± 2.0"]


def test_a_summary_without_quality_and_records_gives_the_reason(results, page):
    table = pd.read_csv(results / "forgetting.csv")
    table[["final_quality", "forward_transfer", "seconds", "peak_memory"]] = float("nan")
    table.to_csv(results / "forgetting.csv", index=False)
    html = page()
    assert ["fine-tune", "–", "−70.0", "–", "−12.5", "2.0", "1.5", "–", "–"] in read(html).rows
    assert "No figure of quality against bytes" in html and "Time and memory were not measured" in html
    assert "relative to scratch, which is not among the methods of this run" in " ".join(html.split())
