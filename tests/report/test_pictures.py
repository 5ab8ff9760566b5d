import json
import re

import pandas as pd

from tests.report.conftest import read, save


def test_a_changed_method_is_shown_twice_and_an_unchanged_one_once(results, page):
    for method in ("fine-tune", "piggyback"):
        save(results, method, "after-coco-seg-0")
        save(results, method, "after-style-gogh-0")
    save(results, "floor", "input-0")
    html = page()
    assert re.findall(r'alt="coco-seg, sample 0: (.*?)"', html) == [
        "input",
        "fine-tune after training",
        "fine-tune after the last task",
        "piggyback after training",
    ]
    assert "Not found for coco-seg: target, floor." in html and "colorize: no sample pictures." in html


def test_the_gallery_has_a_column_per_method_and_a_row_per_task_and_sample(results, page):
    for number in range(2):
        for task in ("coco-seg", "style-gogh"):
            save(results, "floor", f"input-{number}", task=task)
            for method in ("fine-tune", "piggyback"):
                save(results, method, f"after-{task}-{number}", task=task)
    save(results, "fine-tune", "after-style-gogh-0")  # what is left of coco-seg
    html = page()
    rows = read(html).rows
    start = rows.index(["task", "photograph", "fine-tune", "piggyback"])
    assert rows[start + 1] == ["input", "after training", "after the last task", "after training"]
    pictures = [re.findall(r'alt="(.*?)"', row) for row in html.split("<table", 2)[1].split("<tr")[3:]]
    assert pictures[0] == [
        "coco-seg, sample 0: input",
        "coco-seg, sample 0: fine-tune after training",
        "coco-seg, sample 0: fine-tune after the last task",
        "coco-seg, sample 0: piggyback after training",
    ]
    assert [row[0] for row in pictures] == [
        f"{task}, sample {number}: input" for task in ("coco-seg", "style-gogh") for number in range(2)
    ]
    assert html.count('<tr class="more">') == 2 and 'id="all-samples"' in html


def test_samples_are_in_the_order_of_their_numbers(results, page):
    for number in (10, 9, 2):
        save(results, "floor", f"input-{number}")
    assert re.findall(r"sample (\d+):", page()) == ["2", "9", "10"]


def test_large_pictures_are_compressed(results, page):
    save(results, "floor", "input-0", side=160)
    assert read(page()).fetched[0].startswith("data:image/webp;base64,")


def test_left_out_files_are_counted_and_listed(page):
    html = page()
    rows = read(html).rows
    start = rows.index(["coco-seg", "train", "1,400", "2", "1"])
    assert rows[start + 1 : start + 3] == [["val", "8", "0", "0"], ["colorize", "val", "4", "0", "0"]]
    assert "<code>a&lt;b&gt;.jpg</code> (train, broken): truncated" in html
    assert "coco-seg: 1 left out" in html


def test_labels_are_counted_and_faulty_annotations_are_listed(data, page):
    path = data / "prepared" / "coco-seg" / "info.json"
    info = json.loads(path.read_text())
    annotations = {"read": 1200, "faulty": 1, "small": 2, "clipped": 5, "crowd": 3}
    info["classes"] = ["background", "zebra", "ant"]
    info["labels"] = {
        "val": {"classes": {"ant": 0.1, "background": 0.5, "zebra": 0.15}, "ignored": 0.25},
        "train": {"classes": {"ant": 0.2, "background": 0.8, "zebra": 0}, "ignored": 0, "annotations": annotations},
    }
    fault = {"split": "train", "source": "b<c>.jpg", "annotation": "annotation 7", "reason": "no outline"}
    info["faulty_annotations"] = [fault]
    path.write_text(json.dumps(info))
    html = page()
    rows = read(html).rows
    start = rows.index(["class", "train", "val"])
    assert rows[start + 1 : start + 5] == [
        ["background", "80.00", "50.00"],
        ["zebra", "0.00", "15.00"],
        ["ant", "20.00", "10.00"],
        ["ignored (255)", "0.00", "25.00"],
    ]
    assert "<code>b&lt;c&gt;.jpg</code> (train), annotation 7: no outline" in html
    assert "Annotations of train: 1,200 read, 1 not paintable" in html
    assert "5 clipped at the edge" in html


def test_the_pictures_are_those_of_the_first_seed_that_has_any(results, metrics, page):
    pd.concat([metrics, metrics.assign(seed=1)]).to_csv(results / "metrics.csv", index=False)
    save(results, "floor", "input-0", seed=1)
    assert "coco-seg: seed 1." in page()
