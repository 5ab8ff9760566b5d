"""Generated data sets in the native layouts of MS COCO and Pascal VOC, the data of the `mini` preset.

`palimpsest.data.scenes` draws the pictures, and this module writes the files. The readers of the real data sets
read them. A picture depends only on seed, split and number: equal seeds give equal bytes, and a larger count keeps
the existing pictures.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from palimpsest.data.encoding import encoded
from palimpsest.data.scenes import coco, voc
from palimpsest.data.scenes.drawing import Family, Instance, Scene, compose
from palimpsest.data.voc import palette
from palimpsest.errors import DataError, unknown_name
from palimpsest.storage.atomic import writing

COCO_FIRST_ID = {"train2017": 1, "val2017": 1_000_001, "unlabeled2017": 2_000_001}
"""First picture id of each split; ids are unique across splits, as in COCO."""
VOC_YEAR = {"train": 2011, "val": 2012}
"""Year in the picture names of each split; all splits of VOC share a folder, so names have to differ."""

VOC_BORDER = 5 / 375
"""Width of VOC's unlabelled border as a fraction of the usual shorter side."""


def generate_coco(root: Path, images: Mapping[str, int], size: int, seed: int) -> None:
    """Write `images[split]` pictures per COCO split below `root`.

    `size` is the shorter side in pixels. Splits are train2017 and val2017 (instances with polygons) and
    unlabeled2017 (pictures only). Where polygons overlap, the picture shows the instance of the smaller area.

    Raises:
        DataError: a split is not one of COCO's.
    """
    check_splits(images, COCO_FIRST_ID)
    annotation_folder = root / "annotations"
    annotation_folder.mkdir(parents=True, exist_ok=True)
    for split, count in images.items():
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        entries: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for image_id, scene in enumerate(pictures(coco.FAMILY, split, count, size, seed), COCO_FIRST_ID[split]):
            file_name = f"{image_id:012d}.jpg"
            save_jpeg(scene, folder / file_name)
            height, width = scene.owner.shape
            entries.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
            annotations += [annotation(instance, image_id, rank) for rank, instance in enumerate(scene.instances)]
        described: dict[str, object] = {
            "info": {"description": "Generated scenes in the layout of COCO 2017"},
            "licenses": [],
            "images": entries,
            "categories": [
                {"id": category, "name": name, "supercategory": supercategory}
                for category, (name, supercategory) in coco.CATEGORIES.items()
            ],
        }
        labelled = split != "unlabeled2017"
        if labelled:
            described["annotations"] = annotations
        file = annotation_folder / f"{'instances' if labelled else 'image_info'}_{split}.json"
        write_file(file, json.dumps(described).encode())


def generate_voc(root: Path, images: Mapping[str, int], size: int, seed: int) -> None:
    """Write `images[split]` pictures and label maps per VOC split below `root`/VOCdevkit/VOC2012.

    `size` is the shorter side in pixels. Splits are train and val. Label maps are palette PNG of VOC's class
    indices, with 255 on a thin border around every object.

    Raises:
        DataError: a split is not one of VOC's.
    """
    check_splits(images, VOC_YEAR)
    devkit = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (devkit / folder).mkdir(parents=True, exist_ok=True)
    colours = palette().ravel().tolist()
    for split, count in images.items():
        names = [f"{VOC_YEAR[split]}_{number:06d}" for number in range(1, count + 1)]
        for name, scene in zip(names, pictures(voc.FAMILY, split, count, size, seed), strict=True):
            save_jpeg(scene, devkit / "JPEGImages" / f"{name}.jpg")
            labels = Image.fromarray(label_map(scene, max(1, round(size * VOC_BORDER))))
            labels.putpalette(colours)
            write_file(devkit / "SegmentationClass" / f"{name}.png", encoded(labels, ".png"))
        listed = "".join(f"{name}\n" for name in names)
        write_file(devkit / "ImageSets" / "Segmentation" / f"{split}.txt", listed.encode())


def pictures(family: Family, split: str, count: int, size: int, seed: int) -> Iterator[Scene]:
    """Yield the first `count` scenes of a split, each from its own random generator."""
    for number in range(count):
        yield compose(family, size, np.random.default_rng([seed, zlib.crc32(split.encode()), number]))


def save_jpeg(scene: Scene, path: Path) -> None:
    """Write the picture of a scene as JPEG, without chroma subsampling, which would blur colours across edges."""
    write_file(path, encoded(Image.fromarray(scene.pixels), path.suffix, quality=92, subsampling=0))


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file, not atomically: the caller renames the whole folder into place at the end.

    Raises:
        StorageError: the file cannot be written, as on a full disk.
    """
    with writing(path):
        path.write_bytes(content)


def annotation(instance: Instance, image_id: int, rank: int) -> dict[str, object]:
    """Return an instance, number `rank` of its picture, as annotation in COCO's format, coordinates in pixels."""
    points = np.concatenate(instance.polygons)
    left, top = points.min(axis=0)
    width, height = np.ptp(points, axis=0)
    return {
        "id": image_id * 100 + rank,
        "image_id": image_id,
        "category_id": instance.category,
        "iscrowd": 0,
        "area": round(instance.area, 2),
        "bbox": [round(float(value), 2) for value in (left, top, width, height)],
        "segmentation": [[round(float(value), 2) for value in polygon.ravel()] for polygon in instance.polygons],
    }


def label_map(scene: Scene, border: int) -> NDArray[np.uint8]:
    """Return the class of each pixel (H, W): 0 for background, 255 on object borders of `border` pixels."""
    classes = np.array([*(instance.category for instance in scene.instances), 0], np.uint8)
    labels = classes[scene.owner]  # NOBODY is -1 and selects the last entry, background
    before, after = (border + 1) // 2, border // 2
    padded = np.pad(scene.owner, (before, after), mode="edge")
    windows = sliding_window_view(padded, (border + 1, border + 1))
    labels[windows.max(axis=(2, 3)) != windows.min(axis=(2, 3))] = 255
    return labels


def check_splits(images: Mapping[str, int], splits: Mapping[str, int]) -> None:
    """Check that all keys of `images`, names of splits, are keys of `splits`.

    Raises:
        DataError: a split is unknown.
    """
    for split in images:
        if split not in splits:
            raise DataError(f"datasets.NAME.generate: {unknown_name(split, splits, 'split')}")
