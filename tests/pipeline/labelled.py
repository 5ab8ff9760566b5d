"""Small COCO folders with one annotation per picture, and the stage `prepare` on them."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from palimpsest.data.arrays import Prepared
from palimpsest.layout import Layout
from tests.conftest import job_in_this_process

Content = dict[str, Any]
SIDE = 64
SQ = [16, 16, 48, 16, 48, 48, 16, 48]
CATEGORY = {"id": 1, "name": "thing", "supercategory": "object"}
FOLDER = Layout("mine").prepared("shapes")


def write_params(classes: Content | None = None, data_format: str = "coco", **pictures: Any) -> None:
    """Write `params.yaml` of a study with one task of segmentation."""
    task = {"kind": "segmentation", "data": "mine", "classes": classes or {"thing": ["thing"]}}
    defaults = {
        "methods": ["scratch"],
        "sequence": ["shapes"],
        "pictures": {"size": 32, "crop": 32, "dev_share": 0, **pictures},
        "datasets": {"mine": {"format": data_format, "source": "directory", "root": "mine"}},
        "tasks": {"shapes": task},
    }
    Path("params.yaml").write_text(
        yaml.safe_dump({"preset": "mine", "defaults": defaults, "presets": {"mine": {}}})
    )


def annotated(number: int, segmentation: Any = (SQ,), **more: Any) -> Content:
    """Return an annotation of the picture of this number."""
    outline = list(segmentation) if isinstance(segmentation, tuple) else segmentation
    return {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": outline, **more}


def write_coco(
    annotation: Callable[[int], Content] = annotated,
    categories: list[Content] | None = None,
    size: tuple[int, int] = (SIDE, SIDE),
    orientation: int = 1,
    split: str = "both",
) -> None:
    """Write a COCO folder of eight pictures per split with one annotation each."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("train", "val") if split == "both" else (split,):
        folder = Path("mine", f"{name}2017")
        folder.mkdir(parents=True, exist_ok=True)
        images = []
        for number in range(1, 9):
            Image.new("RGB", size, (9 * number, 99, len(name))).save(folder / f"{number}.jpg", exif=exif)
            images.append({"id": number, "file_name": f"{number}.jpg", "width": size[0], "height": size[1]})
        content = {
            "images": images,
            "annotations": [annotation(number) for number in range(1, 9)],
            "categories": categories or [CATEGORY],
        }
        Path("mine/annotations").mkdir(exist_ok=True)
        Path(f"mine/annotations/instances_{name}2017.json").write_text(json.dumps(content))


def prepared() -> Prepared:
    """Run the stage and return its arrays."""
    with pytest.MonkeyPatch.context() as patch, job_in_this_process():
        patch.setattr(sys, "argv", ["prepare", "--log", "logs/prepare.log", "--task", "shapes"])
        patch.delitem(sys.modules, "pipeline.prepare", raising=False)
        runpy.run_module("pipeline.prepare", run_name="__main__")
    return Prepared.open(FOLDER)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """Run the stage and return its single line of error; check that it wrote nothing."""
    with pytest.raises(SystemExit) as ended:
        prepared()
    assert ended.value.code == 1 and not FOLDER.exists()
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1, line
    return line.removeprefix("error: ").rstrip("\n")


def log() -> str:
    """Return the log of the stage."""
    return Path("logs/prepare.log").read_text("utf-8")
