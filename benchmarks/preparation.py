"""Preparation of a segmentation task compared with a plain loop over photographs."""

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from benchmarks.ratios import Ratio, paired
from palimpsest.data.classes import Classes
from palimpsest.data.prepare import prepare
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.reader import SampleSpec
from palimpsest.data.sources import classes_of, open_dataset, provide
from palimpsest.data.targets import LABELS
from palimpsest.jobs import preparation_job
from palimpsest.params import read, resolve
from palimpsest.tasks import task_class

PICTURES = 120
SIDE = 480
"""Shorter side of the photographs in pixels, as in most of COCO."""
INSTANCES = 7
"""Instances per photograph, the average of COCO."""
CORNERS = 24
"""Corners per instance."""
SIZE = 128
"""Side of the prepared pictures."""


def prepare_vs_naive(rounds: int) -> Ratio:
    """Measure images/s of `palimpsest.data.prepare` on one core ÷ images/s of a plain loop over photographs."""
    mini = preparation_job(resolve(read(Path("params.yaml")), {"preset": "mini", "data_root": None}), "coco-seg")
    job = mini.model_copy(update={"splits": {"val": "val"}})  # the only split that is generated here
    settings = PublicDatasetSettings(format="coco", source="generated", side=SIDE, generate={"val2017": PICTURES})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provide(settings, folder / "raw", folder / "manifest.json")
        outline(folder / "raw" / "annotations" / "instances_val2017.json")
        classes = classes_of("coco-seg", job, open_dataset(settings, folder / "raw"))
        assert classes is not None
        return paired(
            lambda: prepare_naive(folder / "raw", folder / "naive", classes),
            lambda: prepare_ours(settings, folder, classes),
            rounds,
            f"images/s ÷ images/s of a plain loop, {SIDE} to {SIZE} pixels",
        )


def outline(path: Path) -> None:
    """Replace the annotations of each photograph in a COCO file by `INSTANCES` polygons of `CORNERS` corners."""
    index = json.loads(path.read_text("utf-8"))
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    index["annotations"] = []
    for image in index["images"]:
        for _ in range(INSTANCES):
            radii = random.uniform(0.05, 0.3) * SIDE * random.uniform(0.7, 1, CORNERS)
            centre = random.uniform(0, [image["width"], image["height"]])
            corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            corners = corners.clip(0, [image["width"] - 1, image["height"] - 1])
            entry = {
                "id": len(index["annotations"]),
                "image_id": image["id"],
                "category_id": int(random.choice(index["categories"])["id"]),
                "segmentation": [corners.round(2).flatten().tolist()],
                "iscrowd": 0,
            }
            index["annotations"].append(entry)
    path.write_text(json.dumps(index), "utf-8")


def prepare_ours(settings: PublicDatasetSettings, folder: Path, classes: Classes) -> None:
    """Prepare the photographs with the pipeline's code, from the JSON to the arrays on the disk."""
    prepare(
        open_dataset(settings, folder / "raw"),
        folder / "ours",
        {"val": ("val", None)},
        SampleSpec(SIZE, LABELS, classes),
        refuse=task_class("segmentation").refuse,
        log=lambda line: None,
    )


def prepare_naive(root: Path, target: Path, classes: Classes) -> None:
    """Prepare the photographs with Pillow and pycocotools alone: decode and paint at full size, then scale."""
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO(root / "annotations" / "instances_val2017.json")
    names = {entry["id"]: entry["name"] for entry in index.loadCats(index.getCatIds())}
    pictures, labels = [], []
    for entry in index.loadImgs(index.getImgIds()):
        picture = Image.open(root / "val2017" / entry["file_name"]).convert("RGB")
        label = np.zeros((picture.height, picture.width), np.uint8)
        for annotation in index.loadAnns(index.getAnnIds(imgIds=entry["id"])):
            number = classes.class_of.get(names[annotation["category_id"]], classes.other_label)
            label[index.annToMask(annotation) == 1] = 255 if annotation["iscrowd"] else number
        pictures.append(np.asarray(square(picture, Image.Resampling.BICUBIC)))
        labels.append(np.asarray(square(Image.fromarray(label), Image.Resampling.NEAREST)))
    np.savez(target, pictures=np.stack(pictures), labels=np.stack(labels))


def square(picture: Image.Image, filtering: Image.Resampling) -> Image.Image:
    """Return the centre square of a picture, scaled to sides of `SIZE`."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), filtering)
